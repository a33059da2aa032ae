//! Keys of objects. They have ids and nothing that a client has chosen.

use uuid::Uuid;

use crate::ids::{AccountId, FileId};

/// Prefix of uploads that are not completed.
pub const STAGING: &str = "staging/";

/// Prefix of files.
pub const FILES: &str = "files/";

/// Prefixes of all objects of an account.
#[must_use]
pub fn prefixes_of(account_id: AccountId) -> [String; 2] {
    [STAGING, FILES].map(|prefix| format!("{prefix}{account_id}/"))
}

/// Where an upload is written. A client with the URL can write there until it expires.
pub(super) fn staging(account_id: AccountId, id: FileId) -> String {
    format!("{STAGING}{account_id}/{id}")
}

/// Key of a file's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ObjectKey {
    pub(super) account_id: AccountId,
    pub(super) id: FileId,
    /// Of the attempt to complete.
    pub(super) object_id: Uuid,
}

impl ObjectKey {
    pub(super) fn text(self) -> String {
        let Self {
            account_id,
            id,
            object_id,
        } = self;
        format!("{FILES}{account_id}/{id}/{object_id}")
    }

    /// `None` for a key that is not of a file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut ids = text.strip_prefix(FILES)?.split('/');
        let mut next = || ids.next()?.parse().ok();
        let key = Self {
            account_id: AccountId(next()?),
            id: FileId(next()?),
            object_id: next()?,
        };
        (key.text() == text).then_some(key)
    }
}

/// Id of the file that an object is of; `None` for a key that is not of a file.
#[must_use]
pub fn file_of(key: &str) -> Option<FileId> {
    ObjectKey::parse(key).map(|key| key.id)
}

/// Complete file with its object.
#[derive(Clone, Debug)]
pub struct ExportedFile {
    pub id: FileId,
    pub name: String,
    pub(super) account_id: AccountId,
    pub(super) object_id: Uuid,
}

impl ExportedFile {
    /// Key of the object in the store.
    #[must_use]
    pub fn object_key(&self) -> String {
        let key = ObjectKey {
            account_id: self.account_id,
            id: self.id,
            object_id: self.object_id,
        };
        key.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let [account, file, object] = [1, 2, 3].map(Uuid::from_u128);
        let key = ObjectKey {
            account_id: AccountId(account),
            id: FileId(file),
            object_id: object,
        };
        assert_eq!(ObjectKey::parse(&key.text()), Some(key));
        for other in ["", "files/", "files/x/y/z", "staging/1/2", "backup.tar"] {
            assert_eq!(ObjectKey::parse(other), None, "{other}");
        }
        assert_eq!(ObjectKey::parse(&format!("{}/x", key.text())), None);
    }
}
