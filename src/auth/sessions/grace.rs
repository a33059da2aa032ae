//! Grace period of used refresh tokens.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::ctx::Ctx;

/// Longest time without a database by which the grace period is extended.
pub(super) const OUTAGE_MAX: Duration = Duration::from_mins(10);

/// Time after a rotation at `at` during which the used token gets its successor. An outage of the database does not count: a
/// client whose reply was lost when it began can only try again when it is over.
pub(super) fn grace(ctx: &Ctx, now: DateTime<Utc>, at: DateTime<Utc>) -> Duration {
    if ctx.auth.refresh_grace.is_zero() {
        return Duration::ZERO;
    }
    let age = (now - at).to_std().unwrap_or_default().min(OUTAGE_MAX);
    ctx.auth.refresh_grace + ctx.heartbeat.outage_within(age)
}
