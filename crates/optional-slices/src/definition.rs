//! The definition of a slice: its edits, and the words that no file may have afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{Error, Result, Tree, pattern};

/// Folder of the definitions, from the root of the checkout.
pub const FOLDER: &str = "crates/optional-slices/slices";

const MIGRATIONS: &str = "migrations";

/// Files that a command generates, that keep what they had, or that list what is removed.
const NOT_SEARCHED: [&str; 9] = [
    ".env.production.example",
    ".sqlx/",
    "CHANGELOG.md",
    "crates/optional-slices/",
    "docs/configuration.md",
    "docs/openapi.json",
    "docs/privacy/data.md",
    "migrations/",
    "sdk/typescript/src/schema.ts",
];

/// Half of a removal. The code goes first; a release later the tables, which the release before still uses, with their lines in
/// the inventory of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Code,
    Tables,
}

impl Part {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Code => ".txt",
            Self::Tables => ".tables.txt",
        }
    }
}

/// All that belongs to a slice: its own files, and its lines in others.
#[derive(Debug, Default)]
pub struct Definition {
    pub name: String,
    /// One line for people.
    pub about: String,
    words: Vec<(Part, String)>,
    code: Vec<Step>,
    tables: Vec<Step>,
    /// Drops the tables: file name and text.
    migration: Option<(String, String)>,
}

#[derive(Debug)]
enum Step {
    Delete(String),
    Edit {
        path: String,
        old: String,
        new: Vec<String>,
    },
    RemoveEach {
        path: String,
        old: String,
    },
}

/// A line that mentions a slice after its removal.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    pub path: String,
    pub line: usize,
    pub word: String,
}

/// The definitions of a checkout, in the order of their names.
///
/// # Errors
///
/// If the folder cannot be read, or a definition has a fault, which is named with its line.
pub fn definitions(root: &Path) -> Result<Vec<Definition>> {
    let folder = root.join(FOLDER);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut found: BTreeMap<String, Definition> = BTreeMap::new();
    for entry in entries {
        let path = entry
            .map_err(|error| Error::io("list", &folder, error))?
            .path();
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let of = |name: &str| name.to_owned();
        if let Some(name) = file.strip_suffix(Part::Tables.suffix()) {
            found
                .entry(of(name))
                .or_default()
                .read(&file, &text, Part::Tables)?;
        } else if let Some(name) = file.strip_suffix(Part::Code.suffix()) {
            found
                .entry(of(name))
                .or_default()
                .read(&file, &text, Part::Code)?;
        } else if let Some((_, name)) = file
            .strip_suffix(".sql")
            .and_then(|file| file.split_once("_drop_"))
        {
            let migration = (file.clone().into_owned(), text);
            found.entry(of(name)).or_default().migration = Some(migration);
        }
    }
    Ok(found
        .into_iter()
        .map(|(name, definition)| Definition { name, ..definition })
        .collect())
}

fn after_sign(line: &str, sign: char) -> Option<&str> {
    let rest = line.strip_prefix(sign)?;
    rest.strip_prefix(' ').or(rest.is_empty().then_some(""))
}

impl Definition {
    fn read(&mut self, name: &str, text: &str, part: Part) -> Result<()> {
        let mut file: Option<&str> = None;
        let mut lines = text.lines().zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            let fault = |reason| Error::Definition {
                path: format!("{FOLDER}/{name}"),
                line: number,
                reason,
            };
            let steps = match part {
                Part::Code => &mut self.code,
                Part::Tables => &mut self.tables,
            };
            if let Some(first) = after_sign(line, '-') {
                let path = file.ok_or_else(|| fault("an edit without `in PATH` before it"))?;
                let mut following = |sign| {
                    std::iter::from_fn(|| {
                        let next = lines.next_if(|(next, _)| after_sign(next, sign).is_some());
                        next.and_then(|(next, _)| after_sign(next, sign))
                    })
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                };
                let mut old = vec![first.to_owned()];
                old.extend(following('-'));
                steps.push(Step::Edit {
                    path: path.to_owned(),
                    old: old.join("\n"),
                    new: following('+'),
                });
                continue;
            }
            if let Some(old) = after_sign(line, '*') {
                let path = file.ok_or_else(|| fault("an edit without `in PATH` before it"))?;
                let (path, old) = (path.to_owned(), old.to_owned());
                steps.push(Step::RemoveEach { path, old });
                continue;
            }
            match line.split_once(' ') {
                Some(("about", about)) => about.clone_into(&mut self.about),
                Some(("word", word)) => self.words.push((part, word.to_owned())),
                Some(("delete", path)) => steps.push(Step::Delete(path.to_owned())),
                Some(("in", path)) => file = Some(path),
                None if line.is_empty() => (),
                _ => {
                    return Err(fault(
                        "expected `about TEXT`, `word TEXT`, `delete PATH`, `in PATH`, `- TEXT`, `+ TEXT` or `* TEXT`",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns whether a part is in the checkout, and not removed yet.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        !self.steps(part).is_empty()
    }

    fn steps(&self, part: Part) -> &[Step] {
        match part {
            Part::Code => &self.code,
            Part::Tables => &self.tables,
        }
    }

    /// Removes a part of the slice from `tree`, its definition included; for [`Part::Tables`] a migration is added that drops
    /// them. Returns an error for each edit that cannot be made. Files that the tree does not have are skipped.
    #[must_use]
    pub fn remove(&self, tree: &mut Tree, part: Part) -> Vec<Error> {
        let mut faults = Vec::new();
        for step in self.steps(part) {
            let (path, old, new) = match step {
                Step::Delete(path) => {
                    tree.delete(path);
                    continue;
                }
                Step::Edit { path, old, new } => (path, old, new.as_slice()),
                Step::RemoveEach { path, old } => (path, old, [].as_slice()),
            };
            let Some(text) = tree.text(path) else {
                continue;
            };
            let found = pattern::find(text, old);
            let is_each = matches!(step, Step::RemoveEach { .. });
            if found.is_empty() || (found.len() > 1 && !is_each) {
                faults.push(Error::NotOnce {
                    path: path.clone(),
                    count: found.len(),
                    text: old.clone(),
                });
                continue;
            }
            let mut text = text.to_owned();
            // From the last one on, so that the positions of the others stay.
            for range in found.iter().rev() {
                text = pattern::replace(&text, range, new);
            }
            tree.set(path, text);
        }
        tree.delete(&format!("{FOLDER}/{}{}", self.name, part.suffix()));
        if let (Part::Tables, Some((name, text))) = (part, &self.migration) {
            tree.delete(&format!("{FOLDER}/{name}"));
            tree.set(&format!("{MIGRATIONS}/{name}"), text.clone());
        }
        faults
    }

    /// Lines of `tree` that have a word of these parts, other than those of generated files and of migrations.
    #[must_use]
    pub fn mentions(&self, tree: &Tree, parts: &[Part]) -> Vec<Mention> {
        let words = self.words.iter().filter(|(part, _)| parts.contains(part));
        let words: Vec<&String> = words.map(|(_, word)| word).collect();
        let mut mentions = Vec::new();
        for (path, text) in tree.files() {
            if NOT_SEARCHED.iter().any(|not| path.starts_with(not)) {
                continue;
            }
            for (line, number) in text.lines().zip(1..) {
                let has = |word: &&String| {
                    line.contains(word.as_str()) && !pattern::find(line, word).is_empty()
                };
                mentions.extend(words.iter().copied().find(has).map(|word| Mention {
                    path: path.to_owned(),
                    line: number,
                    word: word.clone(),
                }));
            }
        }
        mentions
    }
}
