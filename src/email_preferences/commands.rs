//! CLI commands about suppressed addresses.

use chrono::SecondsFormat;
use email_transport::EmailAddress;

use super::service::{suppress, unsuppress};
use crate::cli::{Suppression, Suppressions};
use crate::consents::{self, OptionalKind};
use crate::ctx::Ctx;
use crate::mail::{SuppressionReason, list_suppressions};
use crate::users;

type Failure = Box<dyn std::error::Error>;

/// Runs a command; `print` takes lines of its output.
pub async fn run(ctx: &Ctx, command: Suppressions, print: impl Fn(&str)) -> Result<(), Failure> {
    match command {
        Suppressions::Suppress { email, reason } => {
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
        Suppressions::Unsuppress { email } => {
            if unsuppress(ctx, &email.try_into()?).await? == 0 {
                return Err("the address is not suppressed".into());
            }
            print("the address is not suppressed any more");
        }
        Suppressions::Show { email } => show(ctx, &email.try_into()?, print).await?,
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
