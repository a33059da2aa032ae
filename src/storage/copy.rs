//! Brings the copy up to date with the store.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use clock::Clock;
use database::SessionLock;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{Listed, Mismatch, ObjectStore, StoreError, Transfer};

use super::area::{Area, Needed};
use super::error::Error;
use super::listing::{Entry, Listing, Merge};
use super::marker::Marker;
use super::{DELETED, REPLACED};
use crate::files;
use crate::metrics::{self, CopyChange};
use crate::state::{AppState, StorageCopy};

/// Key of the advisory lock of a run: any number that nothing else uses.
const LOCK: i64 = 0x6772_6f75_6e64_0003;

/// Keys that are looked at together.
const BATCH: usize = 500;

/// Objects that are copied at once.
const AT_ONCE: usize = 8;

/// Objects that may fail before a run gives up: a store that is away fails them all.
pub(super) const MAX_FAILED: u64 = 20;

/// Copies that one run notes as deleted in any case. More than half of all are never noted without `force`: then the store is
/// rather not the one that was copied.
const FEW: u64 = 100;

/// Result of a run, in objects where nothing else is said.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Those of the store.
    pub(super) all: AtomicU64,
    pub(super) copied: AtomicU64,
    /// Bytes of those that were copied and replaced.
    pub(super) bytes: AtomicU64,
    pub(super) replaced: AtomicU64,
    pub(super) noted: AtomicU64,
    /// With replaced ones.
    pub(super) removed: AtomicU64,
    /// Gone from the store and named by a row.
    pub(super) missing: AtomicU64,
    /// Named by no row, or not passed by the virus scanner.
    pub(super) left: AtomicU64,
    pub(super) refused: AtomicU64,
    failed: AtomicU64,
}

fn add(count: &AtomicU64, more: u64) -> u64 {
    count.fetch_add(more, Ordering::Relaxed) + more
}

/// The store and its copy.
pub(super) fn stores(state: &AppState) -> Result<(&ObjectStore, &StorageCopy), Error> {
    let storage = state.storage.as_ref().ok_or(Error::NoStore)?;
    let copy = state.storage_copy.as_ref().ok_or(Error::NoCopy)?;
    Ok((storage, copy))
}

/// Copies all objects. With `force` also into the copy of another bucket, and also if more than half of the copies are gone
/// from the store.
pub(super) async fn copy(state: &AppState, force: bool) -> Result<Report, Error> {
    let (original, copy) = stores(state)?;
    // It spares work and is not needed for the result.
    let lock = SessionLock::try_acquire(&state.db, LOCK).await?;
    let lock = lock.ok_or(Error::Busy)?;
    let run = Run {
        state,
        original,
        copy: &copy.store,
        retention: copy.retention,
        report: Report::default(),
        first_failure: OnceLock::new(),
        waiting_since: AtomicI64::new(i64::MAX),
    };
    let result = run.run(force).await;
    metrics::count_file_copies(result.is_ok());
    lock.release().await;
    result.map(|()| run.report)
}

struct Run<'a> {
    state: &'a AppState,
    original: &'a ObjectStore,
    copy: &'a ObjectStore,
    retention: Duration,
    report: Report,
    first_failure: OnceLock<String>,
    /// Microseconds of Unix time at which the first file that waits for the virus scanner was completed; the largest number if
    /// none waits.
    waiting_since: AtomicI64,
}

impl Run<'_> {
    async fn run(&self, force: bool) -> Result<(), Error> {
        let began = self.state.clock.now();
        let found = Marker::find(self.copy).await?;
        if let Some(marker) = &found
            && !force
        {
            marker.check(self.original)?;
        }
        let mut marker = Marker {
            original: self.original.address().to_owned(),
            // That of another bucket says nothing about this one.
            complete_at: found
                .as_ref()
                .filter(|it| it.original == self.original.address())
                .and_then(|it| it.complete_at),
            has_before: found
                .as_ref()
                .filter(|it| it.original == self.original.address())
                .and_then(|it| it.has_before),
        };
        if !force {
            self.survey().await?;
        }
        // Before the first object, so that no other store is copied here meanwhile.
        marker.put(self.copy).await?;
        for area in Area::ALL {
            let mut merge = Merge::new(self.original, self.copy, area.prefix());
            loop {
                let batch = merge.batch(BATCH).await?;
                if batch.is_empty() {
                    break;
                }
                self.update(area, batch).await?;
            }
        }
        self.remove_replaced().await?;
        let failed = self.report.failed.load(Ordering::Relaxed);
        if failed > 0 {
            let first = self.first_failure.get().cloned().unwrap_or_default();
            return Err(Error::Incomplete { failed, first });
        }
        marker.complete_at = Some(began);
        let waiting = self.waiting_since.load(Ordering::Relaxed);
        let waiting = DateTime::from_timestamp_micros(waiting);
        marker.has_before = Some(waiting.map_or(began, |since| since.min(began)));
        marker.put(self.copy).await?;
        metrics::set_copy_time(Some(began));
        Ok(())
    }

    /// Counts the copies that are gone from the store, before anything is changed.
    async fn survey(&self) -> Result<(), Error> {
        let (mut gone, mut copies) = (0, 0);
        for area in Area::ALL {
            let mut merge = Merge::new(self.original, self.copy, area.prefix());
            while let Some(entry) = merge.next().await? {
                copies += u64::from(entry.copy.is_some());
                let is_gone = entry.original.is_none() && entry.deleted.is_none();
                gone += u64::from(entry.copy.is_some() && is_gone);
            }
        }
        if gone > FEW && gone * 2 > copies {
            return Err(Error::Strange { gone, copies });
        }
        Ok(())
    }

    async fn update(&self, area: Area, batch: Vec<Entry>) -> Result<(), Error> {
        let originals = batch.iter().filter(|it| it.original.is_some()).count();
        add(&self.report.all, originals as u64);
        let changed: Vec<_> = batch.into_iter().filter(is_changed).collect();
        let needed = area.needed(self.state, &changed).await?;
        let updates = changed.into_iter().map(|entry| {
            let needed = needed.get(&entry.key).copied();
            self.update_or_count(entry, needed)
        });
        stream::iter(updates)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// Counts an object that fails, so that it does not keep others from being copied.
    async fn update_or_count(&self, entry: Entry, needed: Option<Needed>) -> Result<(), Error> {
        match self.update_one(&entry, needed).await {
            Err(Error::Store(error)) => {
                tracing::warn!(key = entry.key, %error, "an object cannot be copied");
                metrics::count_file_copy(CopyChange::Failed);
                self.first_failure
                    .get_or_init(|| format!("{}: {error}", entry.key));
                if add(&self.report.failed, 1) > MAX_FAILED {
                    return Err(Error::Store(error));
                }
                Ok(())
            }
            result => result,
        }
    }

    async fn update_one(&self, entry: &Entry, needed: Option<Needed>) -> Result<(), Error> {
        let key = entry.key.as_str();
        match (&entry.original, &entry.copy) {
            (Some(_), copy) => {
                if entry.deleted.is_some() {
                    self.forget_deletion(key).await?;
                }
                let is_current = copy.as_ref().is_some_and(|copy| is_same(entry, copy));
                match needed.filter(Needed::may_be_copied) {
                    _ if is_current => {}
                    Some(needed) => self.copy_one(entry, needed).await?,
                    None => {
                        add(&self.report.left, 1);
                        if let Some(file) = needed.and_then(|needed| needed.file) {
                            let completed_at = file.completed_at.timestamp_micros();
                            self.waiting_since
                                .fetch_min(completed_at, Ordering::Relaxed);
                        }
                    }
                }
            }
            (None, Some(_)) if needed.is_some() => {
                add(&self.report.missing, 1);
                if entry.deleted.is_some() {
                    self.forget_deletion(key).await?;
                }
            }
            (None, Some(_)) => self.delete_one(entry).await?,
            (None, None) => self.forget_deletion(key).await?,
        }
        Ok(())
    }

    async fn copy_one(&self, entry: &Entry, needed: Needed) -> Result<(), Error> {
        let (key, content) = (&entry.key, needed.content());
        let transfer = self.original.transfer(key, self.copy, content.as_ref());
        let (put, size) = match transfer.await? {
            Transfer::Ready { put, size } => (put, size),
            // It was deleted since the listing.
            Transfer::Mismatch(Mismatch::Missing) => return Ok(()),
            Transfer::Mismatch(mismatch) => {
                add(&self.report.refused, 1);
                metrics::count_file_copy(CopyChange::Refused);
                if let Some(file) = &needed.file {
                    tracing::error!(file = %file.id, ?mismatch, "the object of a file differs and is not copied");
                    files::note_difference(self.state, file, Some(mismatch)).await?;
                }
                return Ok(());
            }
        };
        let (count, change) = if entry.copy.is_some() {
            let at = self.state.clock.now().format("%Y%m%dT%H%M%SZ");
            let kept = format!("{REPLACED}{key}/{at}");
            self.copy
                .copy(key, &kept, "application/octet-stream")
                .await?;
            (&self.report.replaced, CopyChange::Replaced)
        } else {
            (&self.report.copied, CopyChange::Copied)
        };
        put.finish().await?;
        add(count, 1);
        add(&self.report.bytes, size);
        metrics::count_file_copy(change);
        Ok(())
    }

    /// Notes that an object is gone from the store, or removes it once that is long ago.
    async fn delete_one(&self, entry: &Entry) -> Result<(), Error> {
        let key = entry.key.as_str();
        let is_due = match &entry.deleted {
            Some(note) => self.is_expired(note),
            None => false,
        };
        if entry.deleted.is_some() && !is_due {
            return Ok(());
        }
        // It may have come back since the listing.
        if self.original.find(key).await?.is_some() {
            return Ok(());
        }
        if is_due {
            self.copy.delete(key).await?;
            self.forget_deletion(key).await?;
            add(&self.report.removed, 1);
            metrics::count_file_copy(CopyChange::Removed);
        } else {
            let note = format!("{DELETED}{key}");
            let text = Bytes::from_static(b"The object is gone from the store since this one.");
            self.copy.put(&note, "text/plain", text).await?;
            add(&self.report.noted, 1);
            metrics::count_file_copy(CopyChange::Noted);
        }
        Ok(())
    }

    async fn forget_deletion(&self, key: &str) -> Result<(), StoreError> {
        self.copy.delete(&format!("{DELETED}{key}")).await
    }

    /// Removes objects that were replaced long ago.
    async fn remove_replaced(&self) -> Result<(), Error> {
        let mut listing = Listing::new(self.copy, "", REPLACED);
        while let Some(object) = listing.next().await? {
            if self.is_expired(&object) {
                self.copy.delete(&object.key).await?;
                add(&self.report.removed, 1);
                metrics::count_file_copy(CopyChange::Removed);
            }
        }
        Ok(())
    }

    /// By the clock of this machine, since the other time is the store's.
    fn is_expired(&self, object: &Listed) -> bool {
        let age = Clock::system().now() - DateTime::<Utc>::from(object.modified_at);
        age.to_std().is_ok_and(|age| age > self.retention)
    }
}

/// Returns whether something may have to be done about a key.
fn is_changed(entry: &Entry) -> bool {
    match (&entry.original, &entry.copy) {
        (Some(_), Some(copy)) => entry.deleted.is_some() || !is_same(entry, copy),
        _ => true,
    }
}

/// A copy is newer than its original. The hashes of stores can be compared only if they agree.
fn is_same(entry: &Entry, copy: &Listed) -> bool {
    entry.original.as_ref().is_some_and(|original| {
        let is_newer = original.modified_at > copy.modified_at;
        let is_equal = original.etag.is_some() && original.etag == copy.etag;
        original.size == copy.size && (!is_newer || is_equal)
    })
}
