//! Comparison of files with their objects, by size and SHA-256: a share of them each day, and by command.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use clock::before;
use database::SessionLock;
use object_store::{Mismatch, ObjectStore, Pace};

use super::comparison::{Differing, Run, Verification, VerifyError};
use super::store::{self, StoredFile};
use crate::metrics;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// Key of the advisory lock of the daily comparison: any number that nothing else uses.
const LOCK: i64 = 0x6772_6f75_6e64_0002;

/// Hour and minute in UTC at which the daily comparison begins.
pub const VERIFY_DAILY_AT: (u32, u32) = (2, 7);

job_queue::jobs! {
    /// Runs daily. Repeated, it goes on with the rest of the day's share.
    VerifyFiles "files.verify" => verify_share_of_day;
}

/// Which files are compared, and how.
#[derive(Clone, Copy, Debug)]
pub enum Selection {
    /// All of them, by size and SHA-256.
    All,
    /// All of them, by presence and size alone.
    Present,
    /// One of so many, those that were compared longest ago, and all that differed.
    Share(u32),
}

/// Compares files with the objects of the store, notes the results in their rows, and passes those that differ to `report`.
pub async fn verify(
    state: &AppState,
    storage: &ObjectStore,
    selection: Selection,
    report: impl Fn(&Differing),
) -> Result<Verification, VerifyError> {
    let run = Run::new(state, storage, None, report);
    match selection {
        Selection::All => run.all(true).await?,
        Selection::Present => run.all(false).await?,
        Selection::Share(parts) => {
            let now = state.clock.now();
            let all = run.count(now).await?.0;
            run.differing().await?;
            run.oldest(all.div_ceil(parts.max(1).into()), now).await?;
        }
    }
    run.done()
}

/// Compares files that were completed before a time with the objects of another store, and passes those that differ to
/// `report`. Nothing is noted.
pub async fn verify_copy(
    state: &AppState,
    copy: &ObjectStore,
    before: DateTime<Utc>,
    report: impl Fn(&Differing),
) -> Result<Verification, VerifyError> {
    let mut run = Run::new(state, copy, None, report);
    run.copied_before = Some(before);
    run.all(true).await?;
    run.done()
}

/// Number of files that should have an object.
pub async fn count_stored(state: &AppState) -> Result<u64, sqlx::Error> {
    let begin = scope::begin_job(state.job_statement_timeout);
    let mut tx = database::begin_with(&state.db, begin).await?;
    let counts = store::count_verified(&mut *tx, state.clock.now()).await?;
    tx.commit().await?;
    Ok(counts.all.unsigned_abs())
}

async fn verify_share_of_day(state: &AppState) -> Result<(), VerifyError> {
    let Some(storage) = &state.storage else {
        return Ok(());
    };
    // The queue gives a job that runs for hours to another process as well. That one fails and is tried again later.
    let lock = SessionLock::try_acquire(&state.db, LOCK).await?;
    let lock = lock.ok_or(VerifyError::Busy)?;
    let pace = Pace::new(state.files.verify_rate);
    let run = Run::new(state, storage, Some(pace), |_| {});
    let now = state.clock.now();
    let days = state.files.verify_within.as_secs().div_ceil(24 * 3600);
    let (all, verified) = run.count(day_began(now)).await?;
    run.differing().await?;
    let share = all.div_ceil(days).saturating_sub(verified);
    run.oldest(share, now).await?;
    let Verification {
        files, differing, ..
    } = run.done()?;
    tracing::info!(files, differing, "files are compared with their objects");
    lock.release().await;
    Ok(())
}

/// Last time at or before `now` at which the daily comparison was due. A run that goes on with another one counts what was compared
/// since.
fn day_began(now: DateTime<Utc>) -> DateTime<Utc> {
    let (hour, minute) = VERIFY_DAILY_AT;
    let into_day = TimeDelta::hours(hour.into()) + TimeDelta::minutes(minute.into());
    let today = now.date_naive().and_time(NaiveTime::MIN).and_utc() + into_day;
    if today > now {
        today - TimeDelta::days(1)
    } else {
        today
    }
}

/// Notes that an object that is being copied is not what its file says.
pub async fn note_difference(
    state: &AppState,
    file: &StoredFile,
    mismatch: Option<Mismatch>,
) -> Result<(), sqlx::Error> {
    let now = state.clock.now();
    let mut tx = scope::begin(&state.db, Scope::Account(file.account_id)).await?;
    let difference = mismatch.map(Into::into);
    store::set_verified(&mut *tx, file.object(), difference, true, now).await?;
    tx.commit().await
}

/// Sets the gauges of files that differ and of the oldest comparison.
pub async fn sample_verified(state: &AppState) {
    let found = async {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let found = store::find_verify_state(&mut *tx).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(found)
    };
    if let Ok(found) = found.await {
        let due = before(state.clock.now(), state.files.verify_within);
        let overdue = found.oldest.map(|oldest| due - oldest);
        let overdue = overdue.and_then(|overdue| overdue.to_std().ok());
        let differing = u32::try_from(found.differing).unwrap_or(u32::MAX);
        metrics::set_files_verified(differing, overdue.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_when_the_comparison_is_due() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("it is a time");
        for (now, began) in [
            ("2026-11-29T02:07:00Z", "2026-11-29T02:07:00Z"),
            ("2026-11-29T02:06:59Z", "2026-11-28T02:07:00Z"),
            ("2026-11-29T23:59:59Z", "2026-11-29T02:07:00Z"),
            ("2026-12-01T00:00:00Z", "2026-11-30T02:07:00Z"),
        ] {
            assert_eq!(day_began(at(now)), at(began), "{now}");
        }
    }
}
