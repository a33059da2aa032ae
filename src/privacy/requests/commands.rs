//! Commands of the register.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::model::OpenRequest;
use super::store;
use crate::auth::CommandError;
use crate::cli::NewRequestOptions;
use crate::ctx::Ctx;
use crate::ids::DataRequestId;
use crate::users;

type Error = Box<dyn std::error::Error>;

/// Adds a request to the register; returns its id.
pub(in crate::privacy) async fn add(
    ctx: &Ctx,
    options: NewRequestOptions,
) -> Result<DataRequestId, Error> {
    let now = ctx.now();
    let reference = options.reference.try_into()?;
    if options.received > now {
        return Err("the request was received in the future".into());
    }
    let mut tx = ctx.begin().await?;
    let user_id = match options.email {
        Some(email) => {
            let known = users::find_credentials(&mut *tx, &email.try_into()?).await?;
            Some(known.ok_or(CommandError::NoAccount)?.user_id)
        }
        None => None,
    };
    let id = DataRequestId::new(now, &ctx.rng);
    let NewRequestOptions { kind, received, .. } = options;
    store::insert(&mut *tx, id, user_id, kind, &reference, received).await?;
    tx.commit().await?;
    Ok(id)
}

/// Closes a request with its answer.
pub(in crate::privacy) async fn close(ctx: &Ctx, id: Uuid, answer: String) -> Result<(), Error> {
    let id = DataRequestId(id);
    let is_closed = store::close(&ctx.db, id, &answer.try_into()?, ctx.now()).await?;
    if is_closed {
        Ok(())
    } else {
        Err("no open request has this id".into())
    }
}

/// Lines about the open requests, the oldest first.
pub(in crate::privacy) async fn list(ctx: &Ctx) -> Result<Vec<String>, sqlx::Error> {
    let now = ctx.now();
    let all = store::list_open(&ctx.db).await?;
    Ok(all.iter().map(|it| line(it, now)).collect())
}

fn line(it: &OpenRequest, now: DateTime<Utc>) -> String {
    let days = (now - it.received_at).num_days();
    let at = it.received_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let user = it
        .user_id
        .map_or_else(|| "without an account".to_owned(), |id| id.to_string());
    let OpenRequest {
        id,
        kind,
        reference,
        ..
    } = it;
    format!("{user} {kind}, {days} days old, received {at}, request {id}, {reference}")
}
