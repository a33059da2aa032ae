//! Monthly partitions of append-only tables, created ahead of time and dropped past their retention.
//!
//! The statements call functions of the schema, which run with the rights of its owner and keep a list of the
//! tables that they are for: `missing_months`, `attach_month_partition`, `drop_month_partitions` and
//! `month_partition_state`.

use std::time::Duration;

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use settings::Setting;
use sqlx::{FromRow, PgExecutor};
use tokio::time::sleep;

use crate::{Db, is_lock_timeout};

/// Months for which partitions are created ahead of time; later rows go to the default partition.
const MONTHS_AHEAD: i32 = 3;

/// Attempts to get the locks of one partition, with linear backoff.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_BACKOFF: Duration = Duration::from_millis(500);

/// State of the partitions of a table, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct PartitionState {
    /// Consecutive months after this one that have a partition; -1 if this one has none.
    pub months_ahead: i32,
    /// Rows in the default partition, counted up to 100,000.
    pub default_rows: i64,
}

/// Drops the months that ended before `drop_before`, and attaches those that are missing: this month, the coming
/// ones, and those of rows in the default partition.
pub async fn maintain(
    db: &Db,
    table: &str,
    drop_before: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    // First, so that rows of old months are dropped and not moved.
    if let Some(before) = drop_before {
        let dropped: i32 = sqlx::query_scalar("SELECT drop_month_partitions($1, $2)")
            .bind(table)
            .bind(before)
            .fetch_one(db)
            .await?;
        if dropped > 0 {
            tracing::info!(table, dropped, "dropped old partitions");
        }
    }
    let missing: Vec<NaiveDate> =
        sqlx::query_scalar("SELECT month FROM missing_months($1, $2) AS month")
            .bind(table)
            .bind(MONTHS_AHEAD)
            .fetch_all(db)
            .await?;
    for month in missing {
        let moved = attach_with_retries(db, table, month).await?;
        tracing::info!(table, %month, moved, "attached a partition");
    }
    Ok(())
}

/// The lock timeout is one second, since other statements queue behind a waiting lock; they run between attempts.
async fn attach_with_retries(db: &Db, table: &str, month: NaiveDate) -> Result<i64, sqlx::Error> {
    let mut attempt = 1;
    loop {
        match attach(db, table, month).await {
            Err(error) if attempt < LOCK_ATTEMPTS && is_lock_timeout(&error) => {
                tracing::warn!(table, %month, attempt, "cannot attach a partition, trying again");
            }
            done => return done,
        }
        sleep(LOCK_BACKOFF * attempt).await;
        attempt += 1;
    }
}

/// Returns how many rows the partition took from the default one.
async fn attach(db: &Db, table: &str, month: NaiveDate) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT attach_month_partition($1, $2)")
        .bind(table)
        .bind(month)
        .fetch_one(db)
        .await
}

/// Returns how far ahead a table has partitions, and how many rows are in its default one.
pub async fn state_of(
    conn: impl PgExecutor<'_>,
    table: &str,
) -> Result<PartitionState, sqlx::Error> {
    sqlx::query_as("SELECT months_ahead, default_rows FROM month_partition_state($1)")
        .bind(table)
        .fetch_one(conn)
        .await
}

/// Retention of partitions by month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// `13mo`.
    Months(u32),
    /// `400d`.
    Days(u32),
}

impl Retention {
    /// At least a year.
    #[must_use]
    pub fn is_a_year(self) -> bool {
        match self {
            Self::Months(months) => months >= 12,
            Self::Days(days) => days >= 366,
        }
    }

    /// Rows before the returned time may be deleted.
    #[must_use]
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let before = match self {
            Self::Months(months) => now.checked_sub_months(Months::new(months)),
            Self::Days(days) => now.checked_sub_days(Days::new(days.into())),
        };
        before.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl Setting for Retention {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let number = |unit| text.strip_suffix(unit)?.parse::<u32>().ok();
        // Rows of this month may be in use, and months are dropped as a whole.
        let months = number("mo").filter(|months| (2..=240).contains(months));
        let days = number("d").filter(|days| (62..=7_300).contains(days));
        months
            .map(Self::Months)
            .or(days.map(Self::Days))
            .ok_or_else(|| "must be months or days: 2mo to 240mo, or 62d to 7300d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_months_or_days_and_never_less_than_two_months() {
        let parse = |text: &str| Retention::parse(text).ok();
        assert_eq!(parse("13mo"), Some(Retention::Months(13)));
        assert_eq!(parse("400d"), Some(Retention::Days(400)));
        for wrong in [
            "", "13", "1mo", "61d", "241mo", "7301d", "-2mo", "13m", "0d", "mo",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let now: DateTime<Utc> = "2026-03-31T12:00:00Z".parse().expect("it is a time");
        let before = |retention: Retention| retention.before(now).to_rfc3339();
        assert_eq!(
            before(Retention::Months(13)),
            "2025-02-28T12:00:00+00:00",
            "a shorter month's last day"
        );
        assert_eq!(before(Retention::Days(90)), "2025-12-31T12:00:00+00:00");
    }
}
