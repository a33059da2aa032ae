//! Brings back what the store lacks from the copy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, StoreError, Transfer};

use super::area::{Area, Needed};
use super::copy::{MAX_FAILED, stores};
use super::error::Error;
use super::listing::{Entry, Merge};
use crate::files;
use crate::state::AppState;

const BATCH: usize = 500;

/// Objects that are brought back at once.
const AT_ONCE: usize = 8;

/// Attempts to bring back an object, and the time between them.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_secs(1);

/// Result of a run, in objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restored {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// The copy has other bytes than the file.
    pub(super) damaged: u64,
    /// Only the copy has them, and no row names them.
    pub(super) left: u64,
    pub(super) failed: u64,
    /// Of the list of erased users.
    pub(super) erased: u64,
}

/// Brings back objects that the product needs and the store lacks. Overwrites nothing. `report` gets a line for each.
pub(super) async fn restore(state: &AppState, report: impl Fn(&str)) -> Result<Restored, Error> {
    let (original, copy) = stores(state)?;
    let run = Run {
        state,
        original,
        copy: &copy.store,
        report,
        objects: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        damaged: AtomicU64::new(0),
        left: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        erased: AtomicU64::new(0),
    };
    for area in Area::ALL {
        let mut merge = Merge::new(original, &copy.store, area.prefix());
        loop {
            let batch = merge.batch(BATCH).await?;
            if batch.is_empty() {
                break;
            }
            run.restore(area, batch).await?;
        }
    }
    let read = |count: AtomicU64| count.into_inner();
    Ok(Restored {
        objects: read(run.objects),
        bytes: read(run.bytes),
        damaged: read(run.damaged),
        left: read(run.left),
        failed: read(run.failed),
        erased: read(run.erased),
    })
}

struct Run<'a, R> {
    state: &'a AppState,
    original: &'a ObjectStore,
    copy: &'a ObjectStore,
    report: R,
    objects: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
    left: AtomicU64,
    failed: AtomicU64,
    erased: AtomicU64,
}

impl<R: Fn(&str)> Run<'_, R> {
    async fn restore(&self, area: Area, batch: Vec<Entry>) -> Result<(), Error> {
        let is_gone = |entry: &Entry| entry.original.is_none() && entry.copy.is_some();
        let gone: Vec<_> = batch.into_iter().filter(is_gone).collect();
        let needed = area.needed(self.state, &gone).await?;
        let wanted = gone.into_iter().filter_map(|entry| {
            let needed = needed.get(&entry.key).copied();
            if needed.is_none() {
                self.left.fetch_add(1, Ordering::Relaxed);
            }
            Some(self.restore_one(area, entry.key, needed?))
        });
        stream::iter(wanted)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn restore_one(&self, area: Area, key: String, needed: Needed) -> Result<(), Error> {
        let mut attempt = 1;
        let size = loop {
            match self.transfer(&key, needed).await {
                Err(StoreError::Unavailable(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(BACKOFF).await;
                }
                Ok(size) => break size,
                // It does not keep others from being restored.
                Err(error) => {
                    (self.report)(&format!("{key}: {error}"));
                    if self.failed.fetch_add(1, Ordering::Relaxed) >= MAX_FAILED {
                        return Err(error.into());
                    }
                    return Ok(());
                }
            }
        };
        let Some(size) = size else { return Ok(()) };
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        (self.report)(&format!("{key}: restored"));
        if area == Area::Erased {
            self.erased.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(file) = &needed.file {
            files::set_found(self.state, file).await?;
            files::note_difference(self.state, file, None).await?;
        }
        Ok(())
    }

    /// Returns the bytes that were written; `None` if nothing was.
    async fn transfer(&self, key: &str, needed: Needed) -> Result<Option<u64>, StoreError> {
        // It may have come back since the listing.
        if self.original.find(key).await?.is_some() {
            return Ok(None);
        }
        let content = needed.content();
        match self
            .copy
            .transfer(key, self.original, content.as_ref())
            .await?
        {
            Transfer::Ready { put, size } => {
                put.finish().await?;
                Ok(Some(size))
            }
            Transfer::Mismatch(mismatch) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                (self.report)(&format!("{key}: the copy is damaged ({mismatch:?})"));
                Ok(None)
            }
        }
    }
}
