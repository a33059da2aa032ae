//! Each optional slice can be removed: what mentions it is in its definition (`crates/optional-slices`).

use std::path::Path;

use optional_slices::{Definition, Part, Tree, definitions};

/// Parts of the repository that a product does not have.
const TEMPLATE_ONLY: [&str; 6] = [
    "CHANGELOG.md",
    "README.md",
    "docs/products.md",
    "docs/tour.md",
    "generate",
    "tests/template",
];

const BOTH: [Part; 2] = [Part::Code, Part::Tables];

fn checkout() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tree = Tree::read(root).expect("the checkout can be read");
    if tree.text("generate/Cargo.toml").is_some() {
        for path in TEMPLATE_ONLY {
            tree.delete(path);
        }
    }
    tree
}

fn all() -> Vec<Definition> {
    definitions(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the definitions can be read")
}

/// Removes a slice, and returns a line for each edit that cannot be made.
fn remove(definition: &Definition, tree: &mut Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for part in BOTH {
        let errors = definition.remove(tree, part);
        faults.extend(
            errors
                .iter()
                .map(|error| format!("{}: {error}", definition.name)),
        );
    }
    faults
}

fn left(definition: &Definition, tree: &Tree) -> Vec<String> {
    let name = &definition.name;
    let mentions = definition.mentions(tree, &BOTH).into_iter().map(|mention| {
        let (path, line, word) = (mention.path, mention.line, mention.word);
        format!(
            "{path}:{line} mentions {word}: add an edit to crates/optional-slices/slices/{name}.txt"
        )
    });
    mentions.collect()
}

#[test]
fn nothing_mentions_an_optional_slice_after_its_removal() {
    for definition in all() {
        let mut tree = checkout();
        let before = definition.mentions(&tree, &BOTH).len();
        assert!(
            before > 0,
            "{}: its words are found nowhere",
            definition.name
        );
        assert_eq!(remove(&definition, &mut tree), [""; 0]);
        assert_eq!(left(&definition, &tree), [""; 0]);
    }
}

#[test]
fn optional_slices_can_be_removed_in_any_order() {
    let mut definitions = all();
    for _ in 0..2 {
        let mut tree = checkout();
        let faults: Vec<_> = definitions
            .iter()
            .flat_map(|definition| remove(definition, &mut tree))
            .collect();
        assert_eq!(faults, [""; 0]);
        for definition in &definitions {
            assert_eq!(left(definition, &tree), [""; 0]);
        }
        definitions.reverse();
    }
}

#[test]
fn a_new_mention_of_an_optional_slice_is_found() {
    let mut definitions = all().into_iter();
    let Some(definition) = definitions.find(|definition| definition.has(Part::Code)) else {
        return;
    };
    let mut tree = checkout();
    let path = format!("src/{}/mod.rs", definition.name);
    let text = tree.text(&path).unwrap_or_default().to_owned();
    assert!(!text.is_empty(), "{path}");
    assert_eq!(remove(&definition, &mut tree), [""; 0]);
    let mention = format!("use crate::{}::routes;\n", definition.name);
    tree.set("src/worker.rs", mention);
    assert_eq!(left(&definition, &tree).len(), 1);
}
