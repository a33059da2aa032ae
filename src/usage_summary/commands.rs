//! CLI commands about emails: suppressed addresses, and a summary on request.

use chrono::SecondsFormat;
use email_transport::EmailAddress;

use super::model::{name, reported_month};
use super::service;
use crate::auth::CommandError;
use crate::cli::{Emails, Suppression};
use crate::consents::{self, OptionalKind};
use crate::ctx::Ctx;
use crate::email_preferences::{Outcome, suppress, unsuppress};
use crate::ids::UserId;
use crate::mail::{SuppressionReason, list_suppressions};
use crate::users;

type Failure = Box<dyn std::error::Error>;

/// Runs a command; `print` takes lines of its output.
pub async fn run(ctx: &Ctx, command: Emails, print: impl Fn(&str)) -> Result<(), Failure> {
    match command {
        Emails::Suppress { email, reason } => {
            let reason = match reason {
                Suppression::Bounce => SuppressionReason::Bounce,
                Suppression::Complaint => SuppressionReason::Complaint,
                Suppression::Manual => SuppressionReason::Manual,
            };
            let is_new = suppress(ctx, &email.try_into()?, reason).await?;
            print(if is_new {
                "the address is suppressed"
            } else {
                "the address was suppressed before"
            });
        }
        Emails::Unsuppress { email } => {
            if unsuppress(ctx, &email.try_into()?).await? == 0 {
                return Err("the address is not suppressed".into());
            }
            print("the address is not suppressed any more");
        }
        Emails::Show { email } => show(ctx, &email.try_into()?, print).await?,
        Emails::Summary { email } => send_summary(ctx, &email.try_into()?, print).await?,
    }
    Ok(())
}

async fn show(ctx: &Ctx, email: &EmailAddress, print: impl Fn(&str)) -> Result<(), Failure> {
    let entries = list_suppressions(ctx, &ctx.db, email.as_str()).await?;
    for entry in &entries {
        let since = entry.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        print(&format!(
            "suppressed: {} since {since}",
            entry.reason.as_str()
        ));
    }
    if entries.is_empty() {
        print("suppressed: no");
    }
    let user = users::find_credentials(&ctx.db, email).await?;
    for kind in OptionalKind::ALL {
        let is_given = match &user {
            Some(user) => consents::is_given(&ctx.db, user.user_id, *kind).await?,
            None => false,
        };
        let state = if is_given { "on" } else { "off" };
        print(&format!("{}: {state}", kind.as_str()));
    }
    Ok(())
}

/// Sends the summary of the last month, also if it was sent before.
async fn send_summary(
    ctx: &Ctx,
    email: &EmailAddress,
    print: impl Fn(&str),
) -> Result<(), Failure> {
    if !ctx.mail.usage_summary {
        return Err("MAIL_USAGE_SUMMARY is false".into());
    }
    let user_id = find_user(ctx, email).await?;
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
