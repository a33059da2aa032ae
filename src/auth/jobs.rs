//! The letters about accounts, and cleaning up behind sessions.
//!
//! A letter's token is made when the letter is sent and never before: what waits in the queue is an
//! address, so that nobody who reads the queue can follow a link.

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::store;
use super::token::OpaqueToken;
use crate::infra::after;
use crate::jobs;
use crate::mail::{self, Letter};
use crate::state::AppState;
use crate::users::{self, EmailAddress};

/// How long what is good for nothing is kept, for whoever looks into an incident.
const KEPT: TimeDelta = TimeDelta::days(30);

/// Why a job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the worker was started without its state")]
    NoState,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
}

fn state(ctx: &WorkerContext) -> Result<&AppState, JobError> {
    ctx.get_ext::<AppState>().ok_or(JobError::NoState)
}

/// Sends the link that verifies an address, if there is an account that waits for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SendVerification {
    email: EmailAddress,
}

impl SendVerification {
    /// A letter to this address.
    #[must_use]
    pub fn to(email: EmailAddress) -> Self {
        Self { email }
    }

    /// Two that wait for the same address are one.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", Self::IDENTIFIER, self.email.as_str())
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(user_id) = users::find_unverified(&state.db, &self.email).await? else {
            return Ok(());
        };
        let now = state.clock.now();
        let life = state.auth.verify_email_ttl;
        let token = OpaqueToken::new(&state.rng);
        store::put_verification(&state.db, user_id, token.hash(), now, after(now, life)).await?;
        let mut link = state.mail.link_url.clone();
        if let Ok(mut path) = link.path_segments_mut() {
            path.pop_if_empty().push("verify-email");
        }
        link.query_pairs_mut().append_pair("token", &token.encode());
        let letter = Letter::VerifyEmail {
            link,
            hours: life.as_secs().div_ceil(3_600),
        };
        mail::send(&state.mailer, &state.mail, self.email.as_str(), &letter).await?;
        Ok(())
    }
}

impl TaskHandler for SendVerification {
    const IDENTIFIER: &'static str = "auth.send_verification";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(state(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}

/// Tells the owner of an account that somebody signed up with its address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SendAlreadyRegistered {
    email: EmailAddress,
}

impl SendAlreadyRegistered {
    /// A letter to this address.
    #[must_use]
    pub fn to(email: EmailAddress) -> Self {
        Self { email }
    }

    /// Two that wait for the same address are one.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", Self::IDENTIFIER, self.email.as_str())
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let to = self.email.as_str();
        let letter = Letter::AlreadyRegistered {
            email: to.to_owned(),
        };
        mail::send(&state.mailer, &state.mail, to, &letter).await?;
        Ok(())
    }
}

impl TaskHandler for SendAlreadyRegistered {
    const IDENTIFIER: &'static str = "auth.send_already_registered";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(state(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}

/// Deletes links, tokens and sessions that have long been good for nothing. Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeExpired {}

impl PurgeExpired {
    async fn purge(&self, state: &AppState) -> Result<(), JobError> {
        Ok(store::purge(&state.db, state.clock.now() - KEPT).await?)
    }
}

impl TaskHandler for PurgeExpired {
    const IDENTIFIER: &'static str = "auth.purge_expired";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.purge(state(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}
