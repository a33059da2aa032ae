//! The sweep: rows and objects agree again after a crash between any two steps, and deleted files are removed in time.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use clock::Clock;
use job_queue::Purges;
use object_store::{Listed, ObjectStore, StoreError};
use uuid::Uuid;

use super::key::{FILES, ObjectKey, STAGING};
use super::state::State;
use super::store::{self, FileObject};
use crate::metrics::{self, Repair};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users::{self, AvatarSweepError};

/// Age from which an object or a row is of no request in progress. Uploads can be sent and completed for an hour.
const SETTLED: TimeDelta = TimeDelta::hours(2);

const BATCH: i64 = 100;

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// Objects without a row that one sweep deletes in any case. More than half of all objects are never deleted: then the
/// database is rather not that of the bucket.
const FEW: usize = 100;

#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{orphans} of {objects} objects have no row: is this the bucket of this database?")]
    Strange { orphans: usize, objects: usize },
    #[error(transparent)]
    Avatars(#[from] AvatarSweepError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

job_queue::jobs! {
    /// Runs hourly. Repeated, it finds nothing to do.
    SweepFiles "files.sweep" => sweep;
}

async fn sweep(state: &AppState) -> Result<(), JobError> {
    let Some(storage) = &state.storage else {
        return Ok(());
    };
    let result = sweep_all(state, storage).await;
    metrics::count_file_sweep(result.is_ok());
    result
}

async fn sweep_all(state: &AppState, storage: &ObjectStore) -> Result<(), JobError> {
    delete_rows(state).await?;
    purge_deleted(state, storage).await?;
    delete_staged(storage).await?;
    compare(state, storage).await?;
    Ok(users::sweep_avatars(state, storage).await?)
}

/// Uploads that were never completed, old infected files, and files of accounts that were purged. Their objects go as those
/// without a row.
async fn delete_rows(state: &AppState) -> Result<(), JobError> {
    let now = state.clock.now();
    let (before, kept_since) = (now - SETTLED, now - state.files.retention);
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges
        .run("expired uploads", |conn, most| {
            Box::pin(store::delete_expired(conn, before, most))
        })
        .await;
    purges
        .run("infected files", |conn, most| {
            Box::pin(store::delete_infected(conn, kept_since, most))
        })
        .await;
    purges
        .run("files of purged accounts", |conn, most| {
            Box::pin(store::delete_of_purged_accounts(conn, most))
        })
        .await;
    Ok(purges.finish()?)
}

/// The object goes before the row, which finds it again after a crash.
async fn purge_deleted(state: &AppState, storage: &ObjectStore) -> Result<(), JobError> {
    let before = state.clock.now() - state.files.retention;
    loop {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let due = store::take_deleted(&mut *tx, before, BATCH).await?;
        tx.commit().await?;
        for object in &due {
            storage.delete(&key_of(*object).text()).await?;
            let mut tx = scope::begin(&state.db, Scope::Account(object.account_id)).await?;
            store::purge(&mut *tx, *object).await?;
            tx.commit().await?;
            metrics::count_file_repair(Repair::Purged);
        }
        if due.is_empty() {
            return Ok(());
        }
    }
}

/// Bytes of uploads: those of completed ones were copied.
async fn delete_staged(storage: &ObjectStore) -> Result<(), JobError> {
    let mut after = None;
    loop {
        let page = storage.list(STAGING, after.as_deref(), PAGE).await?;
        for object in page.objects.iter().filter(|object| is_settled(object)) {
            storage.delete(&object.key).await?;
            metrics::count_file_repair(Repair::Staged);
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Compares all objects with all rows, page by page.
async fn compare(state: &AppState, storage: &ObjectStore) -> Result<(), JobError> {
    let (mut after, mut seen, mut orphans) = (None, 0, Vec::new());
    let mut from = (Uuid::nil(), Uuid::nil());
    loop {
        let page = storage.list(FILES, after.as_deref(), PAGE).await?;
        seen += page.objects.len();
        let parse = |object: &Listed| ObjectKey::parse(&object.key);
        let keys: HashSet<_> = page.objects.iter().filter_map(parse).collect();
        let known = known_objects(state, &keys).await?;
        let is_orphan = |object: &&Listed| {
            let key = parse(object);
            is_settled(object) && key.is_some_and(|key| !known.contains(&key.object_id))
        };
        orphans.extend(
            page.objects
                .iter()
                .filter(is_orphan)
                .map(|it| it.key.clone()),
        );
        // The next page may have another object of the last file.
        let last = page.objects.iter().rev().find_map(parse);
        let until = match (&page.next, last) {
            (None, _) => (Uuid::max(), Uuid::max()),
            (Some(_), Some(key)) => (key.account_id.0, key.id.0),
            (Some(_), None) => from,
        };
        compare_rows(state, storage, &keys, from, until).await?;
        from = until;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if orphans.len() > FEW && orphans.len() * 2 > seen {
        return Err(JobError::Strange {
            orphans: orphans.len(),
            objects: seen,
        });
    }
    for key in orphans {
        storage.delete(&key).await?;
        metrics::count_file_repair(Repair::Orphan);
    }
    Ok(())
}

async fn known_objects(
    state: &AppState,
    keys: &HashSet<ObjectKey>,
) -> Result<HashSet<Uuid>, JobError> {
    let ids: Vec<_> = keys.iter().map(|key| key.id.0).collect();
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let known = store::list_known(&mut *tx, &ids).await?;
    tx.commit().await?;
    Ok(known.into_iter().collect())
}

/// Files whose object is not in the listing are lost, until a later sweep finds it.
async fn compare_rows(
    state: &AppState,
    storage: &ObjectStore,
    listed: &HashSet<ObjectKey>,
    from: (Uuid, Uuid),
    until: (Uuid, Uuid),
) -> Result<(), JobError> {
    let before = state.clock.now() - SETTLED;
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let rows = store::list_stored(&mut *tx, from, until, before).await?;
    tx.commit().await?;
    for row in rows {
        let key = key_of(row);
        let was_lost = row.state == State::Lost;
        // A file that was completed since the listing, or whose key is at the edge of a page.
        let is_lost = !listed.contains(&key) && storage.find(&key.text()).await?.is_none();
        if is_lost == was_lost {
            continue;
        }
        let mut tx = scope::begin(&state.db, Scope::Account(row.account_id)).await?;
        let is_set = store::set_lost(&mut *tx, row, is_lost).await?;
        tx.commit().await?;
        if is_set && is_lost {
            tracing::error!(file = %row.id, "the object of a file is lost");
            metrics::count_file_repair(Repair::Lost);
        } else if is_set {
            tracing::info!(file = %row.id, "the object of a lost file is found");
            metrics::count_file_repair(Repair::Found);
        }
    }
    Ok(())
}

const fn key_of(object: FileObject) -> ObjectKey {
    ObjectKey {
        account_id: object.account_id,
        id: object.id,
        object_id: object.object_id,
    }
}

/// By the clock of this machine, since the other time is the store's.
fn is_settled(object: &Listed) -> bool {
    Clock::system().now() - DateTime::<Utc>::from(object.modified_at) > SETTLED
}
