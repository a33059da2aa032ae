//! The daily purge of what has expired.

use chrono::TimeDelta;
use clock::before;
use job_queue::{JobError, Purges};

use super::{credentials, links, sessions, sign_in};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::mfa;
use crate::scope;
use crate::state::AppState;
use crate::users;

/// How long expired rows are kept, to look into incidents.
const KEPT: TimeDelta = TimeDelta::days(30);

/// How long an unconfirmed authenticator is kept.
const UNCONFIRMED: TimeDelta = TimeDelta::days(1);

/// How long a revocation is kept after the last access token that it covers has expired.
const REVOCATIONS_KEPT: TimeDelta = TimeDelta::hours(1);

/// Accounts that one transaction deletes.
const PURGED_AT_ONCE: i64 = 500;

job_queue::jobs! {
    /// Deletes unverified accounts, and links, tokens and sessions that expired long ago. Runs daily.
    PurgeExpired "auth.purge_expired" => purge;
}

/// A failed purge does not stop the others; the next run retries it.
async fn purge(state: &AppState) -> Result<(), JobError> {
    let now = state.clock.now();
    let (expired, unconfirmed) = (now - KEPT, now - UNCONFIRMED);
    let ran_out = now - (state.access_tokens.longest_validity()) - REVOCATIONS_KEPT;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    let unverified = purge_unverified(&Ctx::system(state)).await;
    purges.run_expired(links::EXPIRED, expired).await;
    purges.run_expired(sign_in::EXPIRED, expired).await;
    purges
        .run("pending factors", |conn, most| {
            Box::pin(mfa::delete_pending(conn, unconfirmed, most))
        })
        .await;
    for rows in sessions::EXPIRED {
        purges.run_expired(rows, expired).await;
    }
    purges.run_expired(sessions::REVOCATIONS, ran_out).await;
    purges
        .run("sign-ups", |conn, most| {
            Box::pin(users::delete_verified_sign_ups(conn, most))
        })
        .await;
    purges.run_expired(credentials::EXPIRED_CHANGES, now).await;
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
