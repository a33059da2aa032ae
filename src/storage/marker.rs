//! The object of the copy that says of which bucket it is, and when the last complete copy began.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::error::Error;

const KEY: &str = "groundwork-copy.json";

/// Longer than any.
const MAX_SIZE: usize = 4096;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Address of the bucket that is copied.
    pub(super) original: String,
    /// `None` before the first complete copy.
    pub(super) complete_at: Option<DateTime<Utc>>,
    /// The last complete copy has every file that was completed before. Earlier than its beginning if files waited for the virus
    /// scanner.
    #[serde(default)]
    pub(super) has_before: Option<DateTime<Utc>>,
}

impl Marker {
    /// `None` in a bucket that has no copy yet.
    pub(super) async fn find(copy: &ObjectStore) -> Result<Option<Self>, Error> {
        let Some(bytes) = copy.read_start(KEY, MAX_SIZE).await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    pub(super) async fn put(&self, copy: &ObjectStore) -> Result<(), Error> {
        let body = Bytes::from(serde_json::to_vec(self)?);
        Ok(copy.put(KEY, "application/json", body).await?)
    }

    /// Rejects the copy of another bucket.
    pub(super) fn check(&self, original: &ObjectStore) -> Result<(), Error> {
        if self.original == original.address() {
            return Ok(());
        }
        Err(Error::OtherOriginal {
            found: self.original.clone(),
            expected: original.address().to_owned(),
        })
    }
}
