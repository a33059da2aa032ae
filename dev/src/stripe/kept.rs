//! The file that keeps the accounts between two runs.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{server::Shared, state::snapshot::Snapshot};
use crate::{
    error::{Doing, Error, Result},
    files,
};

/// The file, and the revision of each account that it has.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    revisions: Mutex<HashMap<String, u64>>,
}

impl Kept {
    /// Restores the accounts of the last run, if there was one.
    pub(super) fn open(path: PathBuf, shared: &Arc<Shared>) -> Result<Self> {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => "{}".into(),
            other => other.doing_to("read", &path)?,
        };
        let accounts: HashMap<String, Snapshot> = serde_json::from_str(&text).map_err(|error| {
            Error::Other(format!(
                "{} is not of this release: {error}. Delete it and the database that goes with it.",
                path.display()
            ))
        })?;
        for (key, snapshot) in accounts {
            shared.account(&key).with(|state| state.restore(snapshot));
        }
        Ok(Self {
            path,
            revisions: Mutex::default(),
        })
    }

    /// Writes every account if one has changed since.
    pub(super) fn save(&self, shared: &Shared) -> Result<()> {
        let mut saved = self
            .revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let accounts = shared.accounts_by_key();
        let revisions: HashMap<String, u64> = accounts
            .iter()
            .map(|(key, account)| (key.clone(), account.with(|state| state.revision())))
            .collect();
        if *saved == revisions {
            return Ok(());
        }
        let snapshots: HashMap<&String, Snapshot> = accounts
            .iter()
            .map(|(key, account)| (key, account.with(|state| state.snapshot())))
            .collect();
        let text = serde_json::to_string(&snapshots)
            .map_err(|error| Error::Other(format!("cannot keep the fake Stripe: {error}")))?;
        files::write_private(&self.path, &text)?;
        *saved = revisions;
        Ok(())
    }
}
