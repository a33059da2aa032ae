//! Sealing and opening values, and re-encryption under the first key of the ring.

use std::time::{Duration, Instant};

use crypto::{KeyId, OpenError, Plaintext, Sealed};
use database::begin_with;
use serde_json::json;
use uuid::Uuid;

use super::error::{DecryptionError, ResealError};
use super::model::{ColumnKeys, Progress, SEALED_COLUMNS, SealedColumn};
use super::store::{self, SealedRow};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::ids::AccountId;
use crate::metrics;
use crate::scope;
use crate::state::AppState;

/// Rows of one transaction.
const BATCH: i64 = 200;

/// Passes over a column: a row that a writer has locked is skipped, and found by the next pass.
const PASSES: u32 = 10;

const PAUSE_BETWEEN_PASSES: Duration = Duration::from_millis(500);

impl SealedColumn {
    /// Encrypts a value for the row with this key.
    #[must_use]
    pub fn seal(&self, state: &AppState, row: &[Uuid], value: &[u8]) -> Sealed {
        state.cipher.seal(&self.associated_data(row), value)
    }

    /// Decrypts the value of the row with this key. A failure is audited in the account; the caller reports it as an
    /// internal error, which logs it.
    pub async fn open(
        &self,
        ctx: &Ctx,
        account_id: AccountId,
        row: &[Uuid],
        sealed: &Sealed,
    ) -> Result<Plaintext, DecryptionError> {
        match ctx.cipher.open(&self.associated_data(row), sealed) {
            Ok(value) => Ok(value),
            Err(source) => Err(self.report(ctx, account_id, source).await),
        }
    }

    /// Audits a value that cannot be used, in an entry outside of the caller's transaction, which is rolled back.
    pub async fn report(
        &self,
        ctx: &Ctx,
        account_id: AccountId,
        source: OpenError,
    ) -> DecryptionError {
        let reason = match source {
            OpenError::UnknownKey => "unknown_key",
            OpenError::Damaged => "damaged",
        };
        let detail = json!({ "table": self.table(), "column": self.column(), "reason": reason });
        let entry = Event::DecryptionFailed
            .in_account(account_id)
            .detail(detail);
        if let Err(error) = ctx.audit(entry).await {
            tracing::warn!(%error, "a value that cannot be decrypted is not audited");
        }
        DecryptionError {
            column: self.to_string(),
            source,
        }
    }
}

/// Counts the rows of every column under each key. Reads all rows.
pub async fn count_rows(state: &AppState) -> Result<Vec<ColumnKeys>, sqlx::Error> {
    let mut columns = Vec::new();
    for column in SEALED_COLUMNS {
        let mut tx = begin_with(&state.db, scope::begin_job(state.job_statement_timeout)).await?;
        let found = store::count_by_key(&mut *tx, column).await?;
        tx.commit().await?;
        let rows_of = |rows: i64| rows.unsigned_abs();
        let ring = state.cipher.key_ids();
        let known = ring.iter().map(|id| {
            let under = found.iter().find(|(key, _)| key == id.as_bytes());
            (*id, under.map_or(0, |(_, rows)| rows_of(*rows)))
        });
        let is_unknown = |key: &[u8]| ring.iter().all(|id| id.as_bytes() != key);
        let unknown = found.iter().filter(|(key, _)| is_unknown(key));
        columns.push(ColumnKeys {
            column,
            known: known.collect(),
            unknown: unknown
                .map(|(key, rows)| (hex(key), rows_of(*rows)))
                .collect(),
        });
    }
    Ok(columns)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Keys of the ring that a row needs.
pub async fn keys_in_use(state: &AppState) -> Result<Vec<KeyId>, sqlx::Error> {
    let columns = count_rows(state).await?;
    let known = columns.into_iter().flat_map(|column| column.known);
    Ok(known
        .filter(|(_, rows)| *rows > 0)
        .map(|(key, _)| key)
        .collect())
}

/// Sets the gauges of rows under each key. After a failure they keep their values.
pub async fn sample(state: &AppState) {
    match count_rows(state).await {
        Ok(columns) => {
            for counted in &columns {
                let column = counted.column.to_string();
                for (key, rows) in &counted.known {
                    metrics::set_sealed_rows(&column, &key.to_string(), *rows);
                }
                metrics::set_sealed_rows(&column, "unknown", counted.unknown_rows());
            }
        }
        Err(error) => tracing::warn!(%error, "sealed rows cannot be counted"),
    }
}

/// Re-encrypts under the first key of the ring what is encrypted under another one, beside readers and writers. The key
/// id in each row is the progress, so that a run that was killed goes on with the next one.
pub async fn reseal(
    state: &AppState,
    mut report: impl FnMut(&Progress),
) -> Result<(), ResealError> {
    let (mut undecryptable, mut remaining) = (0, 0);
    for column in SEALED_COLUMNS {
        let progress = reseal_column(state, column, &mut report).await?;
        undecryptable += progress.undecryptable;
        remaining += progress.remaining.unwrap_or(0);
    }
    if undecryptable > 0 || remaining > 0 {
        return Err(ResealError::Incomplete {
            undecryptable,
            remaining,
        });
    }
    Ok(())
}

async fn reseal_column(
    state: &AppState,
    column: &'static SealedColumn,
    report: &mut impl FnMut(&Progress),
) -> Result<Progress, sqlx::Error> {
    let started = Instant::now();
    let mut progress = Progress {
        column,
        rows: 0,
        undecryptable: 0,
        remaining: None,
        elapsed: Duration::ZERO,
    };
    for pass in 1..=PASSES {
        let mut cursor = None;
        progress.undecryptable = 0;
        loop {
            cursor = reseal_batch(state, column, cursor, &mut progress).await?;
            progress.elapsed = started.elapsed();
            if cursor.is_none() {
                break;
            }
            report(&progress);
        }
        let remaining = count_remaining(state, column).await?;
        let remaining = remaining.saturating_sub(progress.undecryptable);
        progress.remaining = Some(remaining);
        if remaining == 0 || pass == PASSES {
            break;
        }
        tokio::time::sleep(PAUSE_BETWEEN_PASSES).await;
    }
    report(&progress);
    if progress.undecryptable > 0 {
        let detail = json!({ "table": column.table(), "column": column.column(), "rows": progress.undecryptable });
        let entry = Event::DecryptionFailed.detail(detail);
        Ctx::system(state).audit(entry).await?;
    }
    Ok(progress)
}

/// Re-encrypts the next rows, and returns the cursor after them; `None` after the last.
async fn reseal_batch(
    state: &AppState,
    column: &SealedColumn,
    cursor: Option<Vec<String>>,
    progress: &mut Progress,
) -> Result<Option<Vec<String>>, sqlx::Error> {
    let key = state.cipher.sealing_key();
    let mut tx = begin_with(&state.db, scope::begin_job(state.job_statement_timeout)).await?;
    let mut found =
        store::lock_with_other_keys(&mut *tx, column, key, cursor.as_deref(), BATCH).await?;
    let mut resealed = Vec::with_capacity(found.len());
    for row in &found {
        let data = column.associated_data(&row.ids);
        match state.cipher.open(&data, row.value()) {
            Ok(value) => resealed.push((row, state.cipher.seal(&data, value.expose()))),
            Err(_) => progress.undecryptable += 1,
        }
    }
    if !resealed.is_empty() {
        progress.rows += store::update(&mut *tx, column, &resealed).await?;
    }
    drop(resealed);
    tx.commit().await?;
    Ok(found.pop().map(SealedRow::into_cursor))
}

async fn count_remaining(state: &AppState, column: &SealedColumn) -> Result<u64, sqlx::Error> {
    let mut tx = begin_with(&state.db, scope::begin_job(state.job_statement_timeout)).await?;
    let key = state.cipher.sealing_key();
    let remaining = store::count_with_other_keys(&mut *tx, column, key).await?;
    tx.commit().await?;
    Ok(remaining.unsigned_abs())
}
