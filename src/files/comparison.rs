//! A run of the comparison of files with their objects.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{Mismatch, ObjectStore, Pace, StoreError};
use uuid::Uuid;

use super::store::{self, StoredFile};
use crate::metrics::{self, Verified};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

const BATCH: i64 = 200;

/// Objects that a command compares at once. The job compares one after the other.
const AT_ONCE: usize = 8;

/// Attempts to read an object, and the time between them.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_secs(1);

/// Objects that may fail before a run gives up: a store that is away fails them all.
const MAX_FAILED: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error("another process compares files now")]
    Busy,
    #[error("{failed} objects could not be read, the first of them {first}")]
    Incomplete { failed: u64, first: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A file whose object differs.
#[derive(Clone, Copy, Debug)]
pub struct Differing {
    pub file: StoredFile,
    pub mismatch: Mismatch,
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, key) = (self.file.id, self.file.key());
        match self.mismatch {
            Mismatch::Missing => write!(f, "{id} {key}: missing"),
            Mismatch::Size(size) => {
                let expected = self.file.content().size;
                write!(f, "{id} {key}: size {size} instead of {expected}")
            }
            Mismatch::Hash => write!(f, "{id} {key}: SHA-256"),
        }
    }
}

/// Result of a comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verification {
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    pub differing: u64,
}

/// Comparison in progress.
pub(super) struct Run<'a, R> {
    state: &'a AppState,
    storage: &'a ObjectStore,
    pace: Option<Pace>,
    /// Of another store than that of the product.
    pub(super) copied_before: Option<DateTime<Utc>>,
    report: R,
    files: AtomicU64,
    bytes: AtomicU64,
    differing: AtomicU64,
    /// Files whose object could not be read, with the error.
    failed: Mutex<Vec<(Uuid, String)>>,
}

impl<'a, R: Fn(&Differing)> Run<'a, R> {
    pub(super) fn new(
        state: &'a AppState,
        storage: &'a ObjectStore,
        pace: Option<Pace>,
        report: R,
    ) -> Self {
        Self {
            state,
            storage,
            pace,
            copied_before: None,
            report,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            differing: AtomicU64::new(0),
            failed: Mutex::default(),
        }
    }

    /// The result; an error if objects could not be read.
    pub(super) fn done(&self) -> Result<Verification, VerifyError> {
        let failed = lock(&self.failed);
        if let Some((_, first)) = failed.first() {
            return Err(VerifyError::Incomplete {
                failed: failed.len() as u64,
                first: first.clone(),
            });
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Ok(Verification {
            files: read(&self.files),
            bytes: read(&self.bytes),
            differing: read(&self.differing),
        })
    }

    /// Notes an object that cannot be read, so that it does not keep others from being compared.
    fn note_failure(&self, file: &StoredFile, error: StoreError) -> Result<(), VerifyError> {
        tracing::warn!(file = %file.id, %error, "the object of a file cannot be read");
        let mut failed = lock(&self.failed);
        if failed.len() >= MAX_FAILED {
            return Err(error.into());
        }
        failed.push((file.id.0, format!("{}: {error}", file.key())));
        Ok(())
    }

    /// Files that should have an object, and those that were compared since a time.
    pub(super) async fn count(&self, since: DateTime<Utc>) -> Result<(u64, u64), VerifyError> {
        let begin = scope::begin_job(self.state.job_statement_timeout);
        let mut tx = database::begin_with(&self.state.db, begin).await?;
        let counts = store::count_verified(&mut *tx, since).await?;
        tx.commit().await?;
        Ok((counts.all.unsigned_abs(), counts.verified.unsigned_abs()))
    }

    /// Every file, in the order of the keys.
    pub(super) async fn all(&self, reads_bytes: bool) -> Result<(), VerifyError> {
        let mut after = (Uuid::nil(), Uuid::nil());
        loop {
            let mut tx = scope::begin(&self.state.db, Scope::Exception(Exception::Job)).await?;
            let files = store::list_stored_after(&mut *tx, after, BATCH).await?;
            tx.commit().await?;
            let Some(last) = files.last() else {
                return Ok(());
            };
            after = (last.account_id.0, last.id.0);
            self.compare(files, reads_bytes).await?;
        }
    }

    /// Files that differed: what was repaired need not wait for its turn.
    pub(super) async fn differing(&self) -> Result<(), VerifyError> {
        let mut after = Uuid::nil();
        loop {
            let mut tx = scope::begin(&self.state.db, Scope::Exception(Exception::Job)).await?;
            let files = store::list_differing(&mut *tx, after, BATCH).await?;
            tx.commit().await?;
            let Some(last) = files.last() else {
                return Ok(());
            };
            after = last.id.0;
            self.compare(files, true).await?;
        }
    }

    /// So many files, those that were compared longest ago first.
    pub(super) async fn oldest(&self, most: u64, before: DateTime<Utc>) -> Result<(), VerifyError> {
        let mut left = i64::try_from(most).unwrap_or(i64::MAX);
        while left > 0 {
            let mut tx = scope::begin(&self.state.db, Scope::Exception(Exception::Job)).await?;
            // Those that failed would be the first ones again.
            let failed: Vec<_> = lock(&self.failed).iter().map(|(id, _)| *id).collect();
            let most = left.min(BATCH);
            let files = store::list_unverified(&mut *tx, before, &failed, most).await?;
            tx.commit().await?;
            if files.is_empty() {
                return Ok(());
            }
            left -= i64::try_from(files.len()).unwrap_or(left);
            self.compare(files, true).await?;
        }
        Ok(())
    }

    async fn compare(&self, files: Vec<StoredFile>, reads_bytes: bool) -> Result<(), VerifyError> {
        let is_due = |file: &StoredFile| match self.copied_before {
            Some(before) => file.is_passed() && file.completed_at < before,
            None => true,
        };
        let at_once = if self.pace.is_some() { 1 } else { AT_ONCE };
        let files = files.into_iter().filter(is_due);
        stream::iter(files.map(|file| self.compare_one(file, reads_bytes)))
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await
    }

    async fn compare_one(&self, file: StoredFile, reads_bytes: bool) -> Result<(), VerifyError> {
        let mut mismatch = match self.read(&file, reads_bytes).await {
            Ok(mismatch) => mismatch,
            Err(error) => return self.note_failure(&file, error),
        };
        if self.copied_before.is_none() {
            let now = self.state.clock.now();
            let difference = mismatch.map(Into::into);
            let mut tx = scope::begin(&self.state.db, Scope::Account(file.account_id)).await?;
            let object = file.object();
            let is_noted = store::set_verified(&mut *tx, object, difference, reads_bytes, now);
            // One that was deleted meanwhile, or found infected, is no difference.
            if !is_noted.await? {
                mismatch = None;
            }
            tx.commit().await?;
            count(mismatch, reads_bytes);
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        if mismatch.is_none() && reads_bytes {
            let size = file.content().size;
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        if let Some(mismatch) = mismatch {
            self.differing.fetch_add(1, Ordering::Relaxed);
            let differing = Differing { file, mismatch };
            if self.copied_before.is_none() {
                tracing::error!(file = %file.id, "the object of a file differs: {differing}");
            }
            (self.report)(&differing);
        }
        Ok(())
    }

    async fn read(
        &self,
        file: &StoredFile,
        reads_bytes: bool,
    ) -> Result<Option<Mismatch>, StoreError> {
        let (key, content) = (file.key(), file.content());
        let mut attempt = 1;
        loop {
            let result = if reads_bytes {
                let pace = self.pace.as_ref();
                self.storage.compare(&key, &content, pace).await
            } else {
                let found = self.storage.find(&key).await;
                found.map(|found| match found {
                    None => Some(Mismatch::Missing),
                    Some(found) if found.size != content.size => Some(Mismatch::Size(found.size)),
                    Some(_) => None,
                })
            };
            match result {
                Err(StoreError::Unavailable(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(BACKOFF).await;
                }
                result => return result,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(mismatch: Option<Mismatch>, reads_bytes: bool) {
    let outcome = match mismatch {
        None if !reads_bytes => return,
        None => Verified::Same,
        Some(Mismatch::Missing) => Verified::Missing,
        Some(Mismatch::Size(_)) => Verified::Size,
        Some(Mismatch::Hash) => Verified::Hash,
    };
    metrics::count_verified_file(outcome);
}
