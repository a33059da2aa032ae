//! Files of a checkout in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, FOLDER, Result};

/// Folders that no commit has.
const NOT_READ: [&str; 5] = [".dev", ".git", "dist", "node_modules", "target"];

/// Text files of a checkout. Changes stay in memory until [`Tree::write`], so that a failure leaves the files alone.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// Texts by path with `/`; those that were deleted are absent.
    files: BTreeMap<String, String>,
    changed: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the text files of a checkout, without those of builds and of git.
    ///
    /// # Errors
    ///
    /// If a file or folder cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            changed: BTreeMap::new(),
        };
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).map_err(|error| Error::io("list", folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("list", folder, error))?;
            let place = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry
                .file_type()
                .map_err(|error| Error::io("read", &place, error))?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() && !NOT_READ.contains(&name.as_str()) {
                self.read_folder(&place, &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(&place).map_err(|error| Error::io("read", &place, error))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.insert(path, text);
                }
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Paths and texts, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub fn set(&mut self, path: &str, text: String) {
        self.changed.insert(path.to_owned(), Some(text.clone()));
        self.files.insert(path.to_owned(), text);
    }

    /// Deletes a file, or a folder with all that is in it.
    pub fn delete(&mut self, path: &str) {
        let folder = format!("{path}/");
        let is_meant = |file: &String| file == path || file.starts_with(&folder);
        let gone: Vec<String> = self
            .files
            .keys()
            .filter(|file| is_meant(file))
            .cloned()
            .collect();
        for file in gone {
            self.files.remove(&file);
            self.changed.insert(file, None);
        }
    }

    /// Paths that were deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &str> {
        let deleted = self.changed.iter().filter(|(_, text)| text.is_none());
        deleted.map(|(path, _)| path.as_str())
    }

    /// Writes and deletes what has changed, with folders that are empty afterwards.
    ///
    /// # Errors
    ///
    /// If a file cannot be written: nothing is changed then. If one cannot be renamed or deleted: some are.
    pub fn write(self) -> Result<()> {
        let mut drafts = Vec::new();
        for (path, text) in &self.changed {
            let (Some(text), place) = (text, self.root.join(path)) else {
                continue;
            };
            let mut draft = place.clone().into_os_string();
            draft.push(".draft");
            let draft = PathBuf::from(draft);
            let written = fs::write(&draft, text)
                .and_then(|()| keep_permissions(&place, &draft))
                .map_err(|error| Error::io("write", &draft, error));
            drafts.push((draft, place));
            if written.is_err() {
                for (draft, _) in drafts {
                    let _ = fs::remove_file(draft);
                }
                return written;
            }
        }
        for (draft, place) in &drafts {
            fs::rename(draft, place).map_err(|error| Error::io("replace", place, error))?;
        }
        let deleted = self.changed.iter().filter(|(_, text)| text.is_none());
        // The definitions last: a run that was interrupted can be repeated.
        let (definitions, others): (Vec<_>, Vec<_>) =
            deleted.partition(|(path, _)| path.starts_with(FOLDER));
        for (path, _) in others.into_iter().chain(definitions) {
            let place = self.root.join(path);
            fs::remove_file(&place).map_err(|error| Error::io("delete", &place, error))?;
            self.delete_empty_folders(&place);
        }
        Ok(())
    }

    fn delete_empty_folders(&self, place: &Path) {
        let folders = place.ancestors().skip(1);
        for folder in folders.take_while(|folder| *folder != self.root) {
            // Fails for one that is not empty.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Gives a draft the permissions of the file that it replaces, if there is one.
fn keep_permissions(place: &Path, draft: &Path) -> std::io::Result<()> {
    match fs::metadata(place) {
        Ok(metadata) => fs::set_permissions(draft, metadata.permissions()),
        Err(_) => Ok(()),
    }
}
