//! Makes exports, notifies their users, and deletes them in time.

use chrono::{DateTime, Utc};
use job_queue::{Expired, Purges};
use object_store::StoreError;
use uuid::Uuid;

use super::error::Error;
use super::model::{ArchiveAttempt, ExportState, Failure};
use super::parts::Sink;
use super::{archive, parts, store};
use crate::ctx::Ctx;
use crate::ids::{ExportId, UserId};
use crate::mail::{self, EmailMessage, email_jobs};
use crate::scope;
use crate::state::AppState;
use crate::users;

/// Exports of one query.
const BATCH: i64 = 100;

#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error(transparent)]
    Export(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

job_queue::payload_jobs! {
    /// Makes one export. Interrupted, it starts again.
    MakeExport "privacy.make_export" { id: ExportId }
}

impl MakeExport {
    async fn run_with(&self, state: &AppState) -> Result<(), JobError> {
        Ok(Box::pin(make(state, self.id)).await?)
    }
}

/// Makes an archive, unless the export is no longer pending.
async fn make(state: &AppState, id: ExportId) -> Result<(), Error> {
    let Some(user_id) = store::find_pending(&state.db, id).await? else {
        return Ok(());
    };
    let Some(subject) = archive::find_subject(state, user_id).await? else {
        return Ok(());
    };
    let attempt = ArchiveAttempt {
        user_id,
        export_id: id,
        attempt: Uuid::from_bytes(state.rng.bytes()),
    };
    store::delete_other_parts(&state.db, id, None).await?;
    let sink = Sink::new(state, attempt);
    let is_store = sink.is_store();
    let written = archive::write(state, &subject, sink, state.clock.now()).await;
    let now = state.clock.now();
    let expires_at = now + state.privacy.export_retention;
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin().await?;
    let is_done = match written {
        Ok(written) => {
            store::set_ready(&mut *tx, attempt, (written, is_store), expires_at, now).await?
        }
        Err(Error::TooLarge) => {
            store::delete_other_parts(&mut *tx, id, None).await?;
            store::set_failed(&mut *tx, user_id, id, Failure::TooLarge, expires_at).await?
        }
        Err(error) => return Err(error),
    };
    if is_done {
        let job = NotifyExport::to(user_id, id);
        job_queue::enqueue(&mut *tx, &job, None).await?;
    }
    Ok(tx.commit().await?)
}

email_jobs! {
    /// To the person whose export is ready, or cannot be made.
    NotifyExport "privacy.notify_export" { user_id: UserId, id: ExportId }
}

impl NotifyExport {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        let export = store::find_latest(&state.db, self.user_id, state.clock.now()).await?;
        let recipient = users::find_own_credentials(&state.db, self.user_id).await?;
        let (Some(export), Some(recipient)) = (export.filter(|it| it.id == self.id), recipient)
        else {
            return Ok(());
        };
        let expires_at = export.expires_at.unwrap_or_default();
        let message = EmailMessage::DataExport {
            is_ready: export.state == ExportState::Ready,
            expires_on: expires_at.format("%-d %B %Y").to_string(),
        };
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}

job_queue::jobs! {
    /// Runs hourly. Repeated, it finds nothing to do.
    PurgeExports "privacy.purge_exports" => purge;
}

/// Exports past their time.
pub(in crate::privacy) fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    [(store::EXPIRED, state.clock.now())]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    if let Some(storage) = &state.storage {
        loop {
            let due = store::list_expired(&state.db, state.clock.now(), BATCH).await?;
            for &(user_id, id) in &due {
                // The row goes last: it finds the objects again after a crash.
                parts::delete_objects(storage, (user_id, id)).await?;
                store::delete(&state.db, user_id, id).await?;
            }
            if due.is_empty() {
                break;
            }
        }
        parts::sweep(storage, state.privacy.export_retention * 2).await?;
    }
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
