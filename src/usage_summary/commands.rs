//! CLI command that sends a summary on request.

use email_transport::EmailAddress;

use super::model::{name, reported_month};
use super::service;
use crate::auth::CommandError;
use crate::ctx::Ctx;
use crate::email_preferences::Outcome;
use crate::ids::UserId;
use crate::users;

type Failure = Box<dyn std::error::Error>;

/// Sends the summary of the last month, also if it was sent before; `print` takes lines of its output.
pub async fn run(ctx: &Ctx, email: String, print: impl Fn(&str)) -> Result<(), Failure> {
    if !ctx.mail.usage_summary {
        return Err("MAIL_USAGE_SUMMARY is false".into());
    }
    let user_id = find_user(ctx, &email.try_into()?).await?;
    let month = reported_month(ctx.now());
    match service::send(ctx, user_id, month, true).await? {
        Outcome::Sent => print(&format!("the summary of {} is sent", name(month))),
        Outcome::NotAsked => {
            return Err(
                "the user has not asked for the summary, is disabled, or has no verified address"
                    .into(),
            );
        }
        Outcome::Suppressed(reason) => {
            return Err(format!("the address is suppressed: {}", reason.as_str()).into());
        }
    }
    Ok(())
}

async fn find_user(ctx: &Ctx, email: &EmailAddress) -> Result<UserId, Failure> {
    let found = users::find_credentials(&ctx.db, email).await?;
    Ok(found.ok_or(CommandError::NoAccount)?.user_id)
}
