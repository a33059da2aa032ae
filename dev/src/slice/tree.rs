//! The files of a checkout, changed in memory and written at the end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Doing as _, Error, Result};

/// A place that was not found, with what belongs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Path in the checkout.
    pub path: String,
    /// The place, in words.
    pub place: String,
    /// Text to add there.
    pub text: String,
}

pub(super) struct Tree {
    root: PathBuf,
    changed: BTreeMap<String, String>,
    missing: Vec<Missing>,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            changed: BTreeMap::new(),
            missing: Vec::new(),
        }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The text of a file, with the changes so far.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        if let Some(text) = self.changed.get(path) {
            return Ok(text.clone());
        }
        let path = self.root.join(path);
        fs::read_to_string(&path).doing_to("read", &path)
    }

    /// The migrations by their paths, the oldest first.
    pub(super) fn migrations(&self) -> Result<BTreeMap<String, String>> {
        let folder = self.root.join("migrations");
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&folder).doing_to("list", &folder)? {
            let name = entry.doing_to("list", &folder)?.file_name();
            let path = format!("migrations/{}", name.to_string_lossy());
            if has_extension(&path, "sql") {
                let text = self.read(&path)?;
                found.insert(path, text);
            }
        }
        Ok(found)
    }

    pub(super) fn create(&mut self, path: String, text: String) -> Result<()> {
        if self.exists(&path) {
            return Err(Error::Other(format!("{path} exists")));
        }
        self.changed.insert(path, text);
        Ok(())
    }

    /// Changes a file by a function that returns `None` if its place is not there.
    pub(super) fn edit(
        &mut self,
        path: &str,
        place: &str,
        text: &str,
        edit: impl FnOnce(&str) -> Option<String>,
    ) {
        let edited = self.read(path).ok().and_then(|before| edit(&before));
        if let Some(edited) = edited {
            self.changed.insert(path.to_owned(), edited);
        } else {
            self.missing.push(Missing {
                path: path.to_owned(),
                place: place.to_owned(),
                text: text.trim().to_owned(),
            });
        }
    }

    /// Inserts a text before the first `end` after `start`.
    pub(super) fn insert_before(&mut self, path: &str, start: &str, end: &str, text: &str) {
        self.edit(path, start.trim(), text, |before| {
            let from = before.find(start)? + start.len();
            let at = from + before[from..].find(end)?;
            Some(format!("{}{text}{}", &before[..at], &before[at..]))
        });
    }

    /// Inserts a text directly after `start`.
    pub(super) fn insert_after(&mut self, path: &str, start: &str, text: &str) {
        self.insert_before(path, start, "", text);
    }

    #[cfg(test)]
    pub(super) fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Applies a function to every changed file of Rust.
    pub(super) fn format(&mut self, format: impl Fn(&str) -> Result<String>) -> Result<()> {
        let rust = self
            .changed
            .iter_mut()
            .filter(|(path, _)| has_extension(path, "rs"));
        for (_, text) in rust {
            *text = format(text)?;
        }
        Ok(())
    }

    /// Writes all files: drafts beside them first, so that a full disk or a missing right changes none.
    pub(super) fn write(self) -> Result<super::Written> {
        let mut drafts = Vec::new();
        let drafted = self.draft(&mut drafts);
        if let Err(error) = drafted {
            for (draft, _) in drafts {
                // What was not written cannot be removed, nor a folder with other files.
                let _ = fs::remove_file(&draft);
                let _ = draft.parent().map(fs::remove_dir);
            }
            return Err(error);
        }
        let mut written = super::Written {
            created: Vec::new(),
            changed: Vec::new(),
            missing: self.missing,
        };
        for (path, (draft, target)) in self.changed.into_keys().zip(drafts) {
            if target.exists() {
                written.changed.push(path);
            } else {
                written.created.push(path);
            }
            fs::rename(&draft, &target).doing_to("write", &target)?;
        }
        Ok(written)
    }

    fn draft(&self, drafts: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
        for (path, text) in &self.changed {
            let target = self.root.join(path);
            let name = target
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let draft = target.with_file_name(format!(".{name}.new"));
            drafts.push((draft.clone(), target.clone()));
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).doing_to("create", folder)?;
            }
            fs::write(&draft, text).doing_to("write", &draft)?;
            if let Ok(of_before) = fs::metadata(&target) {
                fs::set_permissions(&draft, of_before.permissions()).doing_to("write", &draft)?;
            }
        }
        Ok(())
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension() == Some(OsStr::new(extension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Scratch;

    fn root() -> Scratch {
        let root = Scratch::new(None).expect("it is made");
        fs::write(root.path().join("a.md"), "list:\n- one\nend\n").expect("it is written");
        root
    }

    fn text(root: &Scratch) -> String {
        fs::read_to_string(root.path().join("a.md")).expect("it is read")
    }

    #[test]
    fn lines_are_inserted_at_their_places_and_others_are_reported() {
        let root = root();
        let mut tree = Tree::new(root.path().to_path_buf());
        tree.insert_before("a.md", "list:\n", "end", "- two\n");
        tree.insert_after("a.md", "no such place", "- three\n");
        tree.insert_before("no_such_file.md", "list:", "end", "- four\n");
        tree.create("b/c.md".to_owned(), "new\n".to_owned())
            .expect("it is new");
        assert_eq!(text(&root), "list:\n- one\nend\n", "before it is written");
        let written = tree.write().expect("it is written");
        assert_eq!(text(&root), "list:\n- one\n- two\nend\n");
        assert_eq!(
            (written.changed, written.created),
            (vec!["a.md".to_owned()], vec!["b/c.md".to_owned()])
        );
        let missing: Vec<_> = written
            .missing
            .iter()
            .map(|it| (it.path.as_str(), it.text.as_str()))
            .collect();
        assert_eq!(
            missing,
            [("a.md", "- three"), ("no_such_file.md", "- four")]
        );
    }

    #[test]
    fn nothing_is_written_if_one_file_cannot_be() {
        let root = root();
        let mut tree = Tree::new(root.path().to_path_buf());
        tree.insert_before("a.md", "list:\n", "end", "- two\n");
        tree.create("a.md/inside.md".to_owned(), String::new())
            .expect("it is new");
        assert!(tree.write().is_err(), "a file is no folder");
        assert_eq!(text(&root), "list:\n- one\nend\n");
        let files = fs::read_dir(root.path()).expect("it is listed").count();
        assert_eq!(files, 1, "no draft is left");
    }
}
