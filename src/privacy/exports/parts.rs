//! Where the parts of an archive are written to and read from.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use database::Db;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, StoreError};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::error::Error;
use super::model::{ArchiveAttempt, StoredArchive, Written};
use super::store;
use crate::ids::{ExportId, UserId};
use crate::state::AppState;

/// Prefix of archives in the bucket.
const EXPORTS: &str = "exports/";

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

const MIB: usize = 1024 * 1024;

/// Largest archive without an object store.
const MAX_ROWS_SIZE: i64 = 20 * 1024 * 1024;

/// Destination of an archive.
pub(super) enum Sink {
    Store(ObjectStore, ArchiveAttempt),
    Database(Db, ArchiveAttempt),
    File(File),
}

impl Sink {
    pub(super) fn new(state: &AppState, attempt: ArchiveAttempt) -> Self {
        match &state.storage {
            Some(storage) => Self::Store(storage.clone(), attempt),
            None => Self::Database(state.db.clone(), attempt),
        }
    }

    pub(super) const fn is_store(&self) -> bool {
        matches!(self, Self::Store(..))
    }

    /// Bytes of a part.
    pub(super) const fn part_size(&self) -> usize {
        match self {
            Self::Store(..) => 8 * MIB,
            Self::Database(..) | Self::File(_) => MIB,
        }
    }

    pub(super) async fn write(&mut self, written: &mut Written, bytes: Bytes) -> Result<(), Error> {
        written.size += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        match self {
            Self::Store(storage, attempt) => {
                let key = key_of(*attempt, written.parts);
                storage.put(&key, "application/octet-stream", bytes).await?;
            }
            Self::Database(db, attempt) => {
                if written.size > MAX_ROWS_SIZE {
                    return Err(Error::TooLarge);
                }
                store::insert_part(&*db, *attempt, written.parts, &bytes).await?;
            }
            Self::File(file) => file.write_all(&bytes).await?,
        }
        written.parts += 1;
        Ok(())
    }

    /// Makes sure that a file is on the disk.
    pub(super) async fn finish(self) -> Result<(), Error> {
        match self {
            Self::File(mut file) => {
                file.flush().await?;
                Ok(file.sync_all().await?)
            }
            Self::Store(..) | Self::Database(..) => Ok(()),
        }
    }
}

fn key_of(attempt: ArchiveAttempt, part: i32) -> String {
    let ArchiveAttempt {
        user_id,
        export_id,
        attempt,
    } = attempt;
    format!("{EXPORTS}{user_id}/{export_id}/{attempt}/{part:06}")
}

/// Bytes of an archive, one part after the other.
pub(super) fn read(state: &AppState, archive: StoredArchive) -> Result<Body, Error> {
    let parts = stream::iter(0..archive.parts);
    if !archive.is_in_store {
        let db = state.db.clone();
        let bytes = parts.then(move |part| {
            let db = db.clone();
            async move { store::get_part(&db, archive.attempt, part).await }
        });
        return Ok(Body::from_stream(bytes));
    }
    let storage = state.storage.clone().ok_or(Error::NoStore)?;
    let bodies = parts.then(move |part| {
        let storage = storage.clone();
        async move {
            let found = storage.read(&key_of(archive.attempt, part), None).await?;
            let found = found.ok_or(StoreError::Malformed("an archive without a part"))?;
            Ok::<_, StoreError>(
                Body::new(found.body)
                    .into_data_stream()
                    .map_err(axum_to_store),
            )
        }
    });
    Ok(Body::from_stream(bodies.try_flatten()))
}

fn axum_to_store(_: axum::Error) -> StoreError {
    StoreError::Unavailable("the body was cut")
}

/// Deletes the objects of all attempts of an export.
pub(super) async fn delete_objects(
    storage: &ObjectStore,
    (user_id, export_id): (UserId, ExportId),
) -> Result<(), StoreError> {
    delete_below(storage, &format!("{}{export_id}/", prefix_of(user_id))).await
}

/// Prefix of the objects of all exports of a user.
pub(in crate::privacy) fn prefix_of(user_id: UserId) -> String {
    format!("{EXPORTS}{user_id}/")
}

async fn delete_below(storage: &ObjectStore, prefix: &str) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = storage.list(prefix, after.as_deref(), PAGE).await?;
        for object in &page.objects {
            storage.delete(&object.key).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Deletes objects that are older than any archive: those of attempts that were killed, and of users who are gone.
pub(super) async fn sweep(storage: &ObjectStore, kept: Duration) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = storage.list(EXPORTS, after.as_deref(), PAGE).await?;
        for object in &page.objects {
            // By the clock of the store and this process, as the time of an object is the store's.
            if object.modified_at.elapsed().is_ok_and(|age| age > kept) {
                storage.delete(&object.key).await?;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
