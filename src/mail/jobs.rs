//! Jobs that send one email, within limits by recipient that do not depend on who causes them.
//!
//! Classes are limited independently: a client that uses up the limit of one leaves the owner the last emails of
//! that class and all of the others. Emails for signing in (reset, unlock) are limited where they are requested.

use email_transport::mailbox_of;
use graphile_worker::WorkerContext;
use job_queue::{Failure, MissingExtension};
use rate_limit::LimitCheck;

use super::service;
use crate::state::AppState;

/// Class of an email, for its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anybody can cause it by naming an address: one limit for all kinds, by mailbox.
    Open,
    /// Notice to an owner about the account: a limit by kind and address.
    Notice,
    /// Lets an owner sign in; limited where it is requested.
    SignIn,
}

impl Class {
    /// Spends the recipient's limit; returns whether the email may be sent.
    async fn admits(self, state: &AppState, kind: &str, to: &str) -> bool {
        let (limit, key) = match self {
            Self::Open => (state.limits.email_address, mailbox_of(to)),
            Self::Notice => (state.limits.notice_address, format!("{kind} {to}")),
            Self::SignIn => return true,
        };
        let check = LimitCheck::spend(limit, state.limiter.hashed_key(&key));
        let is_admitted = http_toolkit::allows(&state.limiter, &[check]).await;
        if !is_admitted {
            tracing::info!(
                kind,
                limit = limit.name(),
                "email not sent: the recipient's limit is used up"
            );
        }
        is_admitted
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] service::Error),
    #[error(transparent)]
    Cache(#[from] cache::LoadError),
}

/// Runs a job that sends one email, unless the recipient's limit is used up.
pub async fn run_job(
    ctx: &WorkerContext,
    limits: &[(Class, &str)],
    send: impl AsyncFnOnce(&AppState) -> Result<(), JobError>,
) -> Result<(), Failure> {
    let result = async {
        let state = job_queue::extension(ctx)?;
        let (kind, is_retry) = (ctx.job().task_identifier(), *ctx.job().attempts() > 1);
        for (class, to) in limits {
            // A retry was counted with the first attempt.
            if !is_retry && !class.admits(state, kind, to).await {
                return Ok(());
            }
        }
        send(state).await
    }
    .await;
    let is_permanent = |error: &JobError| matches!(error, JobError::Mail(it) if it.is_permanent());
    job_queue::report_final(ctx, result, is_permanent).await
}

/// Declares jobs of one email: name, identifier in the queue, class of the limit by `email` if there is one,
/// and payload. Each has an `async fn send(&self, &AppState) -> Result<(), JobError>`.
macro_rules! email_jobs {
    ($($(#[$doc:meta])* $name:ident $identifier:literal $($class:ident)? { $($(#[$attribute:meta])* $field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
        pub struct $name {
            $($(#[$attribute])* $field: $type,)+
        }

        impl $name {
            #[must_use]
            pub fn to($($field: $type),+) -> Self {
                Self { $($field),+ }
            }

            $(
                #[doc = concat!("Job key: one job per kind and address waits in the queue. Limit: `", stringify!($class), "`.")]
                #[must_use]
                pub fn key(&self) -> String {
                    format!("{}:{}", <Self as graphile_worker::TaskHandler>::IDENTIFIER, self.email.as_str())
                }
            )?
        }

        impl graphile_worker::TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: graphile_worker::WorkerContext) -> impl graphile_worker::IntoTaskHandlerResult {
                let limits: &[($crate::mail::Class, &str)] = &[$(($crate::mail::Class::$class, self.email.as_str()))?];
                $crate::mail::run_job(&ctx, limits, async |state| self.send(state).await).await
            }
        }
    )+};
}

pub(crate) use email_jobs;
