//! The objects that are copied, and those that the product still needs.

use std::collections::HashMap;

use object_store::Content;

use super::listing::Entry;
use crate::files::{self, StoredFile};
use crate::privacy;
use crate::state::AppState;
use crate::users;

/// Objects with one prefix. Uploads in progress and exports, which live for days, have no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Avatars,
    /// List of erased users, which is needed after a restore of the database.
    Erased,
    Files,
}

/// Object that the product needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    /// Of a file.
    pub(super) file: Option<StoredFile>,
}

impl Needed {
    /// False for a file that the virus scanner has not passed.
    pub(super) fn may_be_copied(&self) -> bool {
        self.file.is_none_or(|file| file.is_passed())
    }

    pub(super) fn content(&self) -> Option<Content> {
        self.file.map(|file| file.content())
    }
}

impl Area {
    pub(super) const ALL: [Self; 3] = [Self::Avatars, Self::Erased, Self::Files];

    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Avatars => users::AVATARS,
            Self::Erased => privacy::ERASED,
            Self::Files => files::FILES,
        }
    }

    /// Those of these objects that the product needs, by their keys.
    pub(super) async fn needed(
        self,
        state: &AppState,
        entries: &[Entry],
    ) -> Result<HashMap<String, Needed>, sqlx::Error> {
        let keys: Vec<_> = entries.iter().map(|it| it.key.as_str()).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let no_file = |key: &str| (key.to_owned(), Needed { file: None });
        Ok(match self {
            Self::Avatars => {
                let known = users::list_known_avatars(&state.db, &keys).await?;
                known.into_iter().map(no_file).collect()
            }
            // Nothing of ours deletes one.
            Self::Erased => keys.into_iter().map(no_file).collect(),
            Self::Files => {
                let ids: Vec<_> = keys.iter().filter_map(|key| files::file_of(key)).collect();
                let files = files::find_stored(state, &ids).await?;
                let needed = |file: StoredFile| (file.key(), Needed { file: Some(file) });
                files.into_iter().map(needed).collect()
            }
        })
    }
}
