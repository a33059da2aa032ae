//! The tree of a product: the files of a commit of the template, with the answers in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use minijinja::{Environment, UndefinedBehavior, context};
use optional_slices::{Definition, Part, Tree, definitions};

use crate::answers::{self, Answers, Licence};
use crate::edits::{self, Edits};
use crate::error::{Error, Result};
use crate::git;
use crate::names::{self, Names, TEMPLATE};

/// Files and folders of the template that products do not have, or have in another form.
const LEFT_OUT: [&str; 9] = [
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs/images/docs-page.png",
    "docs/products.md",
    "docs/tour.md",
    "generate",
    "tests/template",
];

/// Files that a product has instead, with their sources in `generate/product` of the same commit.
const WRITTEN: [(&str, &str); 4] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE", "LICENSE"),
    ("dev/update", "update"),
];

/// Added at the end of the product's `Makefile`.
const MAKEFILE: &str = "Makefile";

/// Names for a product of a commit, whose dependencies they must not repeat.
pub(crate) fn names_for(template: &Path, commit: &str, name: &str) -> Result<Names> {
    let lock = git::output(&mut git::git(
        template,
        ["show", &format!("{commit}:Cargo.lock")],
    ))?;
    Names::new(name, &names::locked_packages(&lock))
}

/// Writes the product into an empty directory.
pub(crate) fn render(
    template: &Path,
    answers: &Answers,
    names: &Names,
    edits: Edits,
    into: &Path,
) -> Result<()> {
    git::export(template, &answers.template_commit, into)?;
    let licences = ["LICENSE-MIT", "LICENSE-APACHE"].map(|name| into.join(name));
    let [mit, apache] = licences
        .map(|path| fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error)));
    let (mit, apache) = (mit?, apache?);
    let own_file = |name: &str| {
        let path = into.join("generate/product").join(name);
        fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))
    };
    let mut written = Vec::new();
    for (name, file) in WRITTEN {
        if name != "LICENSE" || answers.licence == Licence::Proprietary {
            written.push((name, fill(name, &own_file(file)?, answers, names)?));
        }
    }
    let makefile = own_file(MAKEFILE)?;
    for name in LEFT_OUT {
        remove(&into.join(name))?;
    }
    let mut files = Vec::new();
    collect(into, &mut files)?;
    for path in &files {
        rewrite(into, path, answers, names, edits)?;
    }
    remove_slices(into, answers, edits)?;
    append(&into.join("Makefile"), &edits::rename(&makefile, names))?;
    for (name, text) in written {
        write(&into.join(name), &text)?;
    }
    let own = |text: &str| {
        edits::rename(text, names).replace(&format!("The {} authors", names.title), &answers.author)
    };
    match answers.licence {
        Licence::Proprietary => (),
        Licence::Mit => write(&into.join("LICENSE"), &own(&mit))?,
        Licence::Apache => write(&into.join("LICENSE"), &own(&apache))?,
        Licence::MitOrApache => {
            write(&into.join("LICENSE-MIT"), &own(&mit))?;
            write(&into.join("LICENSE-APACHE"), &own(&apache))?;
        }
    }
    let update = into.join("dev/update");
    let runs = fs::set_permissions(&update, fs::Permissions::from_mode(0o755));
    runs.map_err(|error| Error::io("make executable", &update, error))?;
    write(&into.join(answers::FILE), &answers.text())?;
    // Names of another length break lines elsewhere.
    git::output(
        Command::new("cargo")
            .args(["fmt", "--all"])
            .current_dir(into),
    )?;
    Ok(())
}

/// Slices of the template that a product may leave out.
pub(crate) fn optional_slices(template: &Path) -> Result<Vec<Definition>> {
    Ok(definitions(template)?)
}

/// Removes the slices that the product does not have. An earlier state of the template may not know all of them.
fn remove_slices(into: &Path, answers: &Answers, edits: Edits) -> Result<()> {
    if answers.without.is_empty() {
        return Ok(());
    }
    let optional = optional_slices(into)?;
    let mut tree = Tree::read(into)?;
    let mut faults = Vec::new();
    for name in &answers.without {
        let Some(slice) = optional.iter().find(|slice| slice.name == *name) else {
            if edits == Edits::WherePossible {
                continue;
            }
            return Err(Error::refused(format!(
                "the product is without {name}, which the template can no longer leave out"
            )));
        };
        faults.extend(slice.remove(&mut tree, Part::Code));
        if !answers.tables_kept.contains(name) {
            faults.extend(slice.remove(&mut tree, Part::Tables));
        }
    }
    match faults.pop() {
        Some(fault) if edits == Edits::All => Err(fault.into()),
        _ => {
            tree.write()?;
            Ok(())
        }
    }
}

fn rewrite(root: &Path, path: &Path, answers: &Answers, names: &Names, edits: Edits) -> Result<()> {
    let bytes = fs::read(path).map_err(|error| Error::io("read", path, error))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(()); // a picture
    };
    let name = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned();
    let mut new = edits::rename(&edits::remove_marked_if_any(&text), names);
    // Afterwards, so that answers are not renamed.
    new = edits::apply(&name, &new, answers, edits)?;
    if name == "Cargo.lock" {
        new = edits::sort_lock(&new, &format!("{}-generate", names.kebab));
    }
    if answers.licence == Licence::Proprietary && name.ends_with("Cargo.toml") {
        new = new.replace("license.workspace = true", "license-file.workspace = true");
    }
    if is_for_operators(&name) {
        new = new.replace("api.example.com", &answers.domain);
        new = new.replace("Acme <hello@example.com>", &answers.sender);
    }
    // The template's sender, its name already replaced.
    new = new.replace(
        &format!("{} <hello@example.com>", names.title),
        &answers.sender,
    );
    if new != text {
        write(path, &new)?;
    }
    Ok(())
}

/// Pages and files with the address of the product. Tests and generated pages keep their example.
fn is_for_operators(name: &str) -> bool {
    const PAGES: [&str; 5] = [
        "deployment.md",
        "go-live.md",
        "releases.md",
        "email.md",
        "PRODUCTION_RUNBOOK.md",
    ];
    let page = name.strip_prefix("docs/");
    page.is_some_and(|page| PAGES.contains(&page) || page.starts_with("deploy/"))
}

fn fill(name: &'static str, text: &str, answers: &Answers, names: &Names) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("markdown", |text: String| edits::markdown(&text));
    let values = context! {
        name => &names.kebab, title => &names.title, prefix => &names.key_prefix,
        description => &answers.description, domain => &answers.domain, sender => &answers.sender, author => &answers.author,
        licence => edits::licence_in_words(answers.licence),
    };
    environment
        .render_str(text, values)
        .map(|mut text| {
            text.push('\n');
            text
        })
        .map_err(|source| Error::Text { path: name, source })
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).map_err(|error| Error::io("list", directory, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", directory, error))?;
        let kind = entry
            .file_type()
            .map_err(|error| Error::io("list", directory, error))?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::io("write", path, error))
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut whole = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    whole.push_str(text);
    write(path, &whole)
}

/// True if the template's name is part of the product's, so that it cannot be free of it.
pub(crate) fn keeps_the_name(names: &Names) -> bool {
    names.kebab.contains(TEMPLATE)
}
