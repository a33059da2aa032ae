//! Jobs that send one email to one address.

use crate::jobs;
use crate::mail::{self, EmailMessage};
use crate::state::AppState;
use crate::users::EmailAddress;

#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
}

impl JobError {
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::Mail(error) if error.is_permanent())
    }
}

macro_rules! emails {
    ($($(#[$doc:meta])* $name:ident $identifier:literal $class:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),+ })+) => {$(
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

            /// Job key: one job per kind and address waits in the queue.
            #[must_use]
            pub fn key(&self) -> String {
                format!("{}:{}", <Self as graphile_worker::TaskHandler>::IDENTIFIER, self.email.as_str())
            }
        }

        impl graphile_worker::TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: graphile_worker::WorkerContext) -> impl graphile_worker::IntoTaskHandlerResult {
                let result = async {
                    let state = $crate::jobs::extension(&ctx)?;
                    let (class, to) = ($crate::mail::Class::$class, self.email.as_str());
                    // A retry was counted with the first attempt.
                    if *ctx.job().attempts() <= 1
                        && !class.admits(state, Self::IDENTIFIER, to).await
                    {
                        return Ok(());
                    }
                    self.send(state).await
                }
                .await;
                $crate::jobs::report_final(&ctx, result, JobError::is_permanent).await
            }
        }
    )+};
}

pub(crate) use emails;

pub(crate) async fn send(
    state: &AppState,
    to: &EmailAddress,
    message: &EmailMessage,
) -> Result<(), JobError> {
    Ok(mail::send(&state.mailer, &state.mail, to.as_str(), message).await?)
}
