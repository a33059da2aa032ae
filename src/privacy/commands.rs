//! Commands that answer requests about personal data.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use email_transport::EmailAddress;

use super::{erasure, exports, holds, record_of_processing, requests};
use crate::auth::CommandError;
use crate::cli::{PersonalData, Privacy};
use crate::ctx::Ctx;
use crate::users;

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

type Lines = Result<Vec<String>, Box<dyn std::error::Error>>;

/// Runs a command about personal data; returns the lines to print.
pub async fn run(ctx: &Ctx, command: Privacy) -> Lines {
    match command {
        Privacy::Record => Ok(vec![record_of_processing()]),
        Privacy::Requests => {
            let mut lines = requests::list(ctx).await?;
            lines.extend(erasure::requests(ctx).await?);
            Ok(lines)
        }
        Privacy::AddRequest(options) => Ok(vec![requests::add(ctx, options).await?.to_string()]),
        Privacy::CloseRequest { id, answer } => {
            requests::close(ctx, id, answer).await?;
            Ok(Vec::new())
        }
        Privacy::Reapply { ids } => erasure::reapply(ctx, ids.as_deref()).await,
    }
}

/// Runs a command about an account's data; returns the lines to print.
pub async fn answer(ctx: &Ctx, command: PersonalData) -> Lines {
    match command {
        PersonalData::Export { email, output } => export(ctx, &email.try_into()?, &output).await,
        PersonalData::Show { email } => show(ctx, &email.try_into()?).await,
        PersonalData::Erase { email, at_once } => {
            erasure::erase(ctx, &email.try_into()?, at_once).await
        }
        PersonalData::Hold(options) => {
            holds::hold(ctx, options).await?;
            Ok(Vec::new())
        }
    }
}

/// Lines about the state of an account, for somebody who handles a request of its owner or of an authority.
async fn show(ctx: &Ctx, email: &EmailAddress) -> Lines {
    let mut tx = ctx.begin().await?;
    let known = users::find_credentials(&mut *tx, email).await?;
    let id = known.ok_or(CommandError::NoAccount)?.user_id;
    let account = users::get_account(&mut *tx, id).await;
    let account = account.map_err(|_| CommandError::NoAccount)?;
    let deletion = erasure::find(&mut *tx, id).await?;
    let hold = holds::find(&mut *tx, id).await?;
    tx.commit().await?;
    let mut lines = vec![
        format!("id: {id}"),
        format!("created: {}", time(account.created_at)),
    ];
    lines.push(match account.email_verified_at {
        Some(at) => format!("address verified: {}", time(at)),
        None => "address not verified".to_owned(),
    });
    lines.extend(
        account
            .disabled_at
            .map(|at| format!("disabled: {}", time(at))),
    );
    if let Some(it) = deletion {
        let (requested, erase_at) = (time(it.requested_at), time(it.erase_at));
        lines.push(format!(
            "deletion requested: {requested}, erased at: {erase_at}"
        ));
        lines.extend(
            it.deferred_reason
                .map(|reason| format!("deferred: {}", reason.as_str())),
        );
    }
    if let Some(holds::Hold {
        reason,
        placed_by,
        ends_at,
    }) = hold
    {
        let ends_at = time(ends_at);
        lines.push(format!("held until {ends_at} by {placed_by}: {reason}"));
    }
    Ok(lines)
}

/// Writes the export of a person's data to a new file; lines about it.
async fn export(ctx: &Ctx, email: &EmailAddress, output: &Path) -> Lines {
    let found = users::find_credentials(&ctx.db, email).await?;
    let user_id = found.ok_or(CommandError::NoAccount)?.user_id;
    let size = exports::write_to_file(ctx, user_id, output).await?;
    Ok(vec![format!(
        "{size} bytes written to {}",
        output.display()
    )])
}
