//! Requests, downloads, and exports by a command.

use std::path::Path;

use chrono::TimeDelta;
use serde_json::json;

use super::error::Error;
use super::jobs::MakeExport;
use super::model::{Export, ExportProof, LastExport, StoredArchive};
use super::parts::Sink;
use super::{archive, store};
use crate::audit::Event;
use crate::auth;
use crate::ctx::{Ctx, UserCtx};
use crate::ids::{ExportId, UserId};
use crate::state::AppState;

/// Time between two exports of a user.
const INTERVAL: TimeDelta = TimeDelta::days(1);

pub(super) async fn request(ctx: &UserCtx, proof: ExportProof) -> Result<Export, Error> {
    let known = auth::reauthenticate(ctx, proof.into_proof()?).await?;
    let (user_id, now) = (ctx.user_id(), ctx.now());
    let id = ExportId::new(now, &ctx.rng);
    let mut tx = ctx.begin().await?;
    auth::recheck_proof(&mut tx, user_id, &known).await?;
    // The index on pending exports serializes concurrent requests.
    if !store::insert(&mut *tx, id, user_id, now).await? {
        return Err(Error::InProgress);
    }
    if let Some(last) = store::find_last_request(&mut *tx, user_id, id).await? {
        let wait = last + INTERVAL - now;
        if let Ok(wait) = wait.to_std()
            && !wait.is_zero()
        {
            return Err(Error::TooSoon(wait));
        }
    }
    job_queue::enqueue(&mut *tx, &MakeExport { id }, None).await?;
    tx.audit(Event::ExportRequested).await?;
    let export = store::find_latest(&mut *tx, user_id, now).await?;
    tx.commit().await?;
    export.ok_or(Error::NotFound)
}

pub(super) async fn get(ctx: &UserCtx) -> Result<LastExport, Error> {
    let export = store::find_latest(&ctx.db, ctx.user_id(), ctx.now()).await?;
    Ok(LastExport { export })
}

/// The archive to download.
pub(super) async fn download(
    ctx: &UserCtx,
    id: ExportId,
    proof: ExportProof,
) -> Result<StoredArchive, Error> {
    let user_id = ctx.user_id();
    // Before the proof, so that an id of somebody else costs no attempt.
    let found = store::find_archive(&ctx.db, user_id, id, ctx.now()).await?;
    let archive = found.ok_or(Error::NotFound)?;
    let known = auth::reauthenticate(ctx, proof.into_proof()?).await?;
    let mut tx = ctx.begin().await?;
    auth::recheck_proof(&mut tx, user_id, &known).await?;
    tx.audit(Event::ExportDownloaded.detail(json!({ "size": archive.size })))
        .await?;
    tx.commit().await?;
    Ok(archive)
}

/// Writes the archive of a user to a new file, for a request that an operator answers. Returns its size in bytes.
pub(in crate::privacy) async fn write_to_file(
    state: &AppState,
    user_id: UserId,
    path: &Path,
) -> Result<i64, Error> {
    let subject = archive::find_subject(state, user_id)
        .await?
        .ok_or(Error::NotFound)?;
    let mut options = tokio::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await?;
    let written = archive::write(state, &subject, Sink::File(file), state.clock.now()).await?;
    let detail = json!({ "by": "command_line", "size": written.size });
    let ctx = Ctx::system(state);
    ctx.audit(Event::ExportDownloaded.about(user_id).detail(detail))
        .await?;
    Ok(written.size)
}
