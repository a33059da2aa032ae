//! Findings of `doctor` about the copy.

use std::fmt;

use bytes::Bytes;
use chrono::SecondsFormat;
use clock::uuid_v7;
use health_checks::Findings;
use object_store::{ObjectStore, StoreError};

use super::error::Error;
use super::marker::Marker;
use crate::files;
use crate::state::AppState;

/// The copy cannot be used.
enum Fault {
    /// The bucket is that of the store, by another address.
    Original,
    /// The key of the store may not read where it has to.
    Unknown,
    Error(Error),
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("it is the bucket STORAGE_BUCKET by another address"),
            Self::Unknown => f.write_str(
                "the key of STORAGE_BUCKET may not read objects below staging/, so that the two cannot be compared",
            ),
            Self::Error(error) => error.fmt(f),
        }
    }
}

/// Adds that the copy can be written, read and deleted, and is in another bucket.
pub async fn findings(state: &AppState, findings: &mut Findings) {
    let Some(original) = &state.storage else {
        return;
    };
    let Some(copy) = &state.storage_copy else {
        findings.warn(
            "copy of the bucket",
            "STORAGE_COPY_BUCKET is not set: what is deleted in the bucket is lost unless it has versions",
        );
        return;
    };
    // Where the key of the store may read, and where the copy has nothing.
    let id = uuid_v7(state.clock.now(), &state.rng);
    let key = format!("{}doctor-{id}", files::STAGING);
    findings
        .run_described(
            "copy of the bucket",
            examine(original, &copy.store, &key),
            Ok,
        )
        .await;
}

async fn examine(original: &ObjectStore, copy: &ObjectStore, key: &str) -> Result<String, Fault> {
    copy.put(key, "text/plain", Bytes::from_static(b"doctor"))
        .await?;
    let found = original.find(key).await;
    copy.delete(key).await?;
    match found {
        Ok(Some(_)) => return Err(Fault::Original),
        Ok(None) => {}
        Err(StoreError::Refused { .. }) => {
            return Err(Fault::Unknown);
        }
        Err(error) => return Err(error.into()),
    }
    let Some(marker) = Marker::find(copy).await? else {
        return Ok("nothing is copied yet".to_owned());
    };
    marker.check(original)?;
    Ok(match marker.complete_at {
        Some(at) => {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!("the last complete copy began at {at}")
        }
        None => "no copy is complete yet".to_owned(),
    })
}
