//! The daily purge of what has expired.

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::store;
use super::{credentials, sessions};
use crate::audit::{self, Entry, Event, Origin};
use crate::infra::{before, begin};
use crate::jobs::{self, NotGiven, Purges};
use crate::mfa;
use crate::state::AppState;
use crate::users;

/// How long expired rows are kept, to look into incidents.
const KEPT: TimeDelta = TimeDelta::days(30);

/// How long an authenticator is kept that nobody has confirmed.
const UNCONFIRMED: TimeDelta = TimeDelta::days(1);

/// How long a revocation is kept after the last access token that it refuses has run out.
const REVOCATIONS_KEPT: TimeDelta = TimeDelta::hours(1);

/// Accounts that one transaction deletes.
const PURGED_AT_ONCE: i64 = 500;

/// Why a purge failed.
#[derive(Debug, thiserror::Error)]
enum PurgeError {
    #[error(transparent)]
    NoState(#[from] NotGiven),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Deletes accounts that nobody ever confirmed, and links, tokens and sessions that have long been
/// good for nothing. Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeExpired {}

impl PurgeExpired {
    /// Runs every purge; what fails is tried again with the next run, and does not stop the others.
    async fn purge(&self, state: &AppState) -> Result<(), PurgeError> {
        let now = state.clock.now();
        let (expired, unconfirmed) = (now - KEPT, now - UNCONFIRMED);
        let ran_out = now - (sessions::expires_after(&state.auth, now) - now) - REVOCATIONS_KEPT;
        let mut purges = Purges::new(&state.db, state.job_statement_timeout);
        let unverified = async {
            while purge_unverified(state).await? {}
            Ok(())
        };
        let unverified: Result<(), PurgeError> = unverified.await;
        purges
            .run("links", |conn, most| {
                Box::pin(store::purge_links(conn, expired, most))
            })
            .await;
        purges
            .run("challenges", |conn, most| {
                Box::pin(store::purge_challenges(conn, expired, most))
            })
            .await;
        purges
            .run("pending factors", |conn, most| {
                Box::pin(mfa::purge_pending(conn, unconfirmed, most))
            })
            .await;
        purges
            .run("refresh tokens", |conn, most| {
                Box::pin(store::purge_tokens(conn, expired, most))
            })
            .await;
        purges
            .run("ended sessions", |conn, most| {
                Box::pin(store::purge_ended_sessions(conn, expired, most))
            })
            .await;
        purges
            .run("expired sessions", |conn, most| {
                Box::pin(store::purge_expired_sessions(conn, expired, most))
            })
            .await;
        purges
            .run("session revocations", |conn, most| {
                Box::pin(store::purge_revocations(conn, ran_out, most))
            })
            .await;
        purges
            .run("sign-ups", |conn, most| {
                Box::pin(users::purge_sign_ups(conn, most))
            })
            .await;
        purges
            .run("email changes", |conn, most| {
                Box::pin(credentials::purge_email_changes(conn, now, most))
            })
            .await;
        purges.finish()?;
        unverified
    }
}

/// Deletes some accounts that nobody confirmed in time; answers whether there may be more.
async fn purge_unverified(state: &AppState) -> Result<bool, PurgeError> {
    let now = state.clock.now();
    let since = before(now, state.auth.unverified_ttl);
    let mut tx = begin(&state.db).await?;
    let purged = users::purge_unverified(&mut *tx, since, now, PURGED_AT_ONCE).await?;
    let origin = Origin::default();
    for user_id in &purged {
        let entry = Entry::befell(Event::UnverifiedPurged, Some(*user_id), None, &origin);
        audit::record(&mut *tx, entry, now, &state.rng).await?;
    }
    tx.commit().await?;
    Ok(!purged.is_empty())
}

impl TaskHandler for PurgeExpired {
    const IDENTIFIER: &'static str = "auth.purge_expired";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.purge(jobs::given(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}
