//! `without`: removes an optional slice from the sources of this checkout.

use std::path::Path;
use std::process::{Command, ExitCode};

use groundwork_dev::{Error, Result};
use optional_slices::{Definition, Part, Tree, definitions};
use serde_json::{Value, json};

use super::{home, say};

/// The answers of a product's owner, by which `make update` renders the template.
const PRODUCT: &str = "product.json";

/// Options of `without`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of slices; without one those that can be removed are listed
    names: Vec<String>,
    /// Also drop their tables: no running release may use them any more
    #[arg(long, default_value = "no", default_missing_value = "yes", num_args = 0..=1, require_equals = true)]
    drop_tables: YesNo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum YesNo {
    Yes,
    No,
}

/// `without`: removes the code of slices, or the tables of slices whose code is gone.
pub(crate) fn without(options: &Options) -> Result<ExitCode> {
    let root = home::checkout()?;
    let all = definitions(&root)?;
    if options.names.is_empty() {
        list(&all);
        return Ok(ExitCode::SUCCESS);
    }
    let mut tree = Tree::read(&root)?;
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    for name in &options.names {
        let Some(definition) = all.iter().find(|one| one.name == *name) else {
            list(&all);
            return Err(Error::Other(format!("{name} is no optional slice")));
        };
        if definition.has(Part::Code) {
            faults.extend(definition.remove(&mut tree, Part::Code));
            lines.push(format!("removed the code of {name}"));
        }
        if !definition.has(Part::Tables) {
            continue;
        }
        if options.drop_tables == YesNo::Yes {
            faults.extend(definition.remove(&mut tree, Part::Tables));
            lines.push(format!("the next migration drops the tables of {name}"));
        } else {
            lines.push(format!(
                "the tables of {name} stay. When no running release uses them: make without SLICE={name} DROP_TABLES=yes"
            ));
        }
    }
    if !faults.is_empty() {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        return Err(Error::Other(format!(
            "nothing was changed: these files are not as the definitions in {} expect\n{}",
            optional_slices::FOLDER,
            faults.join("\n")
        )));
    }
    record_removal(&mut tree, &all, options)?;
    let deleted: Vec<&str> = tree.deleted().collect();
    refuse_uncommitted(&root, &deleted)?;
    let parts: &[Part] = if options.drop_tables == YesNo::Yes {
        &[Part::Code, Part::Tables]
    } else {
        &[Part::Code]
    };
    for definition in all.iter().filter(|one| options.names.contains(&one.name)) {
        let mentions = definition.mentions(&tree, parts);
        lines.extend(mentions.iter().map(|mention| {
            let (path, line, word) = (&mention.path, mention.line, &mention.word);
            format!("remove by hand: {path}:{line} mentions {word}")
        }));
    }
    tree.write()?;
    for line in lines {
        say(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn list(all: &[Definition]) {
    if all.is_empty() {
        say("no slice can be removed");
    }
    for definition in all {
        let state = if definition.has(Part::Code) {
            ""
        } else {
            " (its code is removed, its tables are left)"
        };
        say(&format!(
            "{:<16}{}{state}",
            definition.name, definition.about
        ));
    }
}

/// Changes of deleted files that git does not have would be lost.
fn refuse_uncommitted(root: &Path, deleted: &[&str]) -> Result<()> {
    let status = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["status", "--porcelain", "--"])
        .args(deleted)
        .output();
    // Without git, or outside a repository, nobody can say.
    let Ok(status) = status else {
        return Ok(());
    };
    let lines = String::from_utf8_lossy(&status.stdout);
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::Other(format!(
        "nothing was changed: commit or stash the changes of these files first\n{lines}"
    )))
}

/// Notes in the file of a product what is removed, so that an update leaves it out as well.
fn record_removal(tree: &mut Tree, all: &[Definition], options: &Options) -> Result<()> {
    let Some(text) = tree.text(PRODUCT) else {
        return Ok(()); // not a product
    };
    let broken = |error| Error::Other(format!("{PRODUCT}: {error}"));
    let mut product: Value = serde_json::from_str(text).map_err(broken)?;
    let names = |product: &Value, key: &str| -> Vec<String> {
        let list = product[key].as_array().into_iter().flatten();
        list.filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    let mut removed = names(&product, "without");
    let mut kept = names(&product, "tables_kept");
    removed.extend(options.names.iter().cloned());
    for definition in all.iter().filter(|one| options.names.contains(&one.name)) {
        kept.retain(|name| *name != definition.name);
        if definition.has(Part::Tables) && options.drop_tables == YesNo::No {
            kept.push(definition.name.clone());
        }
    }
    for (key, mut list) in [("without", removed), ("tables_kept", kept)] {
        list.sort();
        list.dedup();
        product[key] = json!(list);
    }
    let mut text = serde_json::to_string_pretty(&product).map_err(broken)?;
    text.push('\n');
    tree.set(PRODUCT, text);
    Ok(())
}
