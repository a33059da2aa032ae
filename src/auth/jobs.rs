//! The daily purge of what has expired.

use chrono::{DateTime, TimeDelta, Utc};
use clock::before;
use job_queue::{Expired, JobError, OwnedRows, Purges};

use super::{credentials, links, sessions, sign_in};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::mfa;
use crate::scope;
use crate::state::AppState;
use crate::users;

/// How long an unconfirmed authenticator is kept.
const UNCONFIRMED: TimeDelta = TimeDelta::days(1);

/// How long a revocation is kept after the last access token that it covers has expired.
const REVOCATIONS_KEPT: TimeDelta = TimeDelta::hours(1);

/// Accounts that one transaction deletes.
const PURGED_AT_ONCE: i64 = 500;

/// Rows that the erasure of a user deletes, by the id of the user.
pub const ERASED: [[OwnedRows; 1]; 4] = [
    sign_in::ERASED,
    links::ERASED,
    credentials::ERASED,
    sessions::ERASED,
];

job_queue::jobs! {
    /// Deletes unverified accounts, and links, tokens and sessions that expired long ago. Runs daily.
    PurgeExpired "auth.purge_expired" => purge;
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> Vec<(Expired, DateTime<Utc>)> {
    let now = state.clock.now();
    let sessions_before = before(now, state.auth.session_retention);
    let links_before = before(now, state.auth.link_retention);
    let revocations_before = now - state.access_tokens.longest_validity() - REVOCATIONS_KEPT;
    let mut retained = vec![
        (links::EXPIRED, links_before),
        (sign_in::EXPIRED, links_before),
        (sessions::REVOCATIONS, revocations_before),
        (credentials::EXPIRED_CHANGES, now),
    ];
    retained.extend(sessions::EXPIRED.map(|rows| (rows, sessions_before)));
    retained
}

/// A failed purge does not stop the others; the next run retries it.
async fn purge(state: &AppState) -> Result<(), JobError> {
    let unconfirmed = state.clock.now() - UNCONFIRMED;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    let unverified = purge_unverified(&Ctx::system(state)).await;
    purges.run_all(&retained(state)).await;
    purges
        .run("pending factors", |conn, most| {
            Box::pin(mfa::delete_pending(conn, unconfirmed, most))
        })
        .await;
    purges
        .run("sign-ups", |conn, most| {
            Box::pin(users::delete_verified_sign_ups(conn, most))
        })
        .await;
    purges.finish()?;
    unverified
}

/// In batches, each with its audit entries.
async fn purge_unverified(ctx: &Ctx) -> Result<(), JobError> {
    loop {
        let now = ctx.now();
        let since = before(now, ctx.auth.unverified_ttl);
        let mut tx = ctx.begin().await?;
        let purged = users::delete_unverified(&mut *tx, since, now, PURGED_AT_ONCE).await?;
        for user_id in &purged {
            tx.audit(Event::UnverifiedPurged.about(*user_id)).await?;
        }
        tx.commit().await?;
        if purged.is_empty() {
            return Ok(());
        }
    }
}
