//! Comparison of avatars with their objects, part of the sweep of files.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use clock::Clock;
use object_store::{ObjectStore, StoreError};
use uuid::Uuid;

use super::model::{AVATARS, AvatarObject};
use super::store;
use crate::ids::UserId;
use crate::metrics::{self, Repair};
use crate::state::AppState;

/// Age from which an object or a row is of no request in progress.
const SETTLED: TimeDelta = TimeDelta::hours(2);

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// Repairs that one sweep makes in any case. More than half of all objects or rows are never deleted: then the database is
/// rather not that of the bucket.
const FEW: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{faults} of {all} avatars have no row or no object: is this the bucket of this database?"
    )]
    Strange { faults: usize, all: usize },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Removes objects without a row, and rows without an object.
pub async fn sweep(state: &AppState, storage: &ObjectStore) -> Result<(), SweepError> {
    let (mut after, mut all) = (None, 0);
    let (mut orphans, mut lost) = (Vec::new(), Vec::new());
    let mut from = UserId(Uuid::nil());
    loop {
        let page = storage.list(AVATARS, after.as_deref(), PAGE).await?;
        let parse = |it: &object_store::Listed| {
            Some((
                AvatarObject::parse(&it.key)?,
                DateTime::from(it.modified_at),
            ))
        };
        let listed: Vec<_> = page.objects.iter().filter_map(parse).collect();
        let until = match (&page.next, listed.last()) {
            (None, _) => UserId(Uuid::max()),
            (Some(_), Some((object, _))) => object.user_id,
            (Some(_), None) => from,
        };
        let rows = store::list(&state.db, from, until).await?;
        all += listed.len().max(rows.len());
        let known: HashSet<_> = rows.iter().map(object_of).collect();
        let objects: HashSet<_> = listed.iter().map(|(object, _)| *object).collect();
        // By the clock of this machine, since the other time is the store's.
        let is_old = |at: &DateTime<Utc>| Clock::system().now() - *at > SETTLED;
        let has_no_row = |(object, at): &&(AvatarObject, _)| is_old(at) && !known.contains(object);
        orphans.extend(listed.iter().filter(has_no_row).map(|(object, _)| *object));
        for row in rows {
            let (object, age) = (object_of(&row), state.clock.now() - row.updated_at);
            // One at the edge of a page may be on the other.
            let is_missing = age > SETTLED && !objects.contains(&object);
            if is_missing && storage.find(&object.key()).await?.is_none() {
                lost.push(object);
            }
        }
        from = until;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let faults = orphans.len().max(lost.len());
    if faults > FEW && faults * 2 > all {
        return Err(SweepError::Strange { faults, all });
    }
    for object in orphans {
        storage.delete(&object.key()).await?;
        metrics::count_file_repair(Repair::Orphan);
    }
    for object in lost {
        tracing::error!(user = %object.user_id, "the object of an avatar is lost");
        metrics::count_file_repair(Repair::Lost);
        // `storage restore` brings it back for the row.
        if let Some(copy) = &state.storage_copy
            && copy.store.find(&object.key()).await?.is_some()
        {
            continue;
        }
        store::delete(&state.db, object).await?;
    }
    Ok(())
}

const fn object_of(row: &store::Known) -> AvatarObject {
    AvatarObject {
        user_id: row.user_id,
        object_id: row.object_id,
    }
}
