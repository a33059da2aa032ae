//! Writes a slice of the product whose rows belong to an account: `make slice`. The templates are in `dev/slice/`: code of a
//! slice with the name `sample_items`, which is replaced in each form.

mod edits;
mod migrations;
mod names;
mod tree;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::NaiveDateTime;

use self::names::Names;
use self::tree::Tree;
use crate::error::{Doing as _, Error, Result};

pub use self::tree::Missing;

/// The files of a slice, in `src/` and in the tests.
const FILES: [(&str, &str); 8] = [
    ("src/sample_items/mod.rs", include_str!("../slice/mod.rs")),
    (
        "src/sample_items/error.rs",
        include_str!("../slice/error.rs"),
    ),
    ("src/sample_items/jobs.rs", include_str!("../slice/jobs.rs")),
    (
        "src/sample_items/model.rs",
        include_str!("../slice/model.rs"),
    ),
    (
        "src/sample_items/routes.rs",
        include_str!("../slice/routes.rs"),
    ),
    (
        "src/sample_items/service.rs",
        include_str!("../slice/service.rs"),
    ),
    (
        "src/sample_items/store.rs",
        include_str!("../slice/store.rs"),
    ),
    (
        "tests/api/sample_items.rs",
        include_str!("../slice/tests.rs"),
    ),
];

const MIGRATION: &str = include_str!("../slice/create.sql");

/// Files that were written, and lines that have no place.
#[derive(Debug)]
pub struct Written {
    /// Paths of new files.
    pub created: Vec<String>,
    /// Paths of files with new lines.
    pub changed: Vec<String>,
    /// Lines whose places were not found.
    pub missing: Vec<Missing>,
}

/// Writes a slice into the checkout. Nothing is written if the name is refused, or a file cannot be read, formatted or
/// written.
pub fn write(
    root: &Path,
    plural: &str,
    singular: Option<&str>,
    now: NaiveDateTime,
) -> Result<Written> {
    let names = Names::new(plural, singular)?;
    plan(root, &names, now)?.write()
}

/// The files with the slice in them.
fn plan(root: &Path, names: &Names, now: NaiveDateTime) -> Result<Tree> {
    let mut tree = Tree::new(root.to_path_buf());
    names.check_free(&tree)?;
    for (path, template) in FILES {
        tree.create(names.fill(path), names.fill(template))?;
    }
    migrations::add(&mut tree, names, &names.fill(MIGRATION), now)?;
    edits::apply(&mut tree, names);
    tree.format(|text| format(root, text))?;
    Ok(tree)
}

/// Formats Rust as `cargo fmt` does.
fn format(root: &Path, text: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "run rustfmt (rustup component add rustfmt)".into())?;
    let mut stdin = rustfmt.stdin.take();
    let input = text.to_owned();
    let writer = std::thread::spawn(move || match &mut stdin {
        Some(stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    });
    let output = rustfmt
        .wait_with_output()
        .doing(|| "wait for rustfmt".into())?;
    // It ends early on a fault, which its output names.
    let _ = writer.join();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Other(format!("rustfmt refuses a file:\n{said}")));
    }
    String::from_utf8(output.stdout).map_err(|error| Error::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_slice_is_in_this_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let names = Names::new("sample_items", None).expect("it is good");
        let tree = plan(&root, &names, NaiveDateTime::default()).expect("it is planned");
        assert_eq!(tree.missing(), []);
    }
}
