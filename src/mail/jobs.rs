//! Jobs that send one email.

use graphile_worker::WorkerContext;

use super::limit::Class;
use super::service;
use crate::jobs::{self, Failure, MissingExtension};
use crate::state::AppState;

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] service::Error),
}

/// Runs a job that sends one email, unless the recipient's limit is used up.
pub async fn run_job(
    ctx: &WorkerContext,
    limits: &[(Class, &str)],
    send: impl AsyncFnOnce(&AppState) -> Result<(), JobError>,
) -> Result<(), Failure> {
    let result = async {
        let state = jobs::extension(ctx)?;
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
    jobs::report_final(ctx, result, is_permanent).await
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
                #[doc = concat!("Job key: one job per kind and address waits in the queue. ", stringify!($class))]
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
