//! Virus scan of completed files. Each waits in the queue for it; without a verdict the job is repeated.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use email_transport::EmailAddress;
use job_queue::SerialJob;
use object_store::StoreError;
use serde_json::json;
use sqlx::PgExecutor;
use virus_scanner::{ScanError, Verdict};

use super::key::ObjectKey;
use super::model::Row;
use super::state::State;
use super::store;
use crate::audit::Event;
use crate::ctx::{Ctx, Tx};
use crate::ids::{AccountId, FileId, UserId};
use crate::mail::{self, EmailMessage, email_jobs};
use crate::metrics::{self, Scan};
use crate::organisations;
use crate::roles::Permission;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users;

/// Scans at once, of all processes: half of the jobs that one runs by default, so that others go on.
const QUEUES: u128 = 2;

/// Age from which a file that waits has its job enqueued again.
const OVERDUE: TimeDelta = TimeDelta::minutes(5);

const BATCH: i64 = 1000;

#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("the object of the file is missing")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

job_queue::payload_jobs! {
    /// Scans one file.
    ScanFile "files.scan" { account_id: AccountId, id: FileId }
}

job_queue::jobs! {
    /// Runs every five minutes: files that wait for long are scanned at once when the scanner responds again, and also if their
    /// job is gone.
    ScanWaiting "files.scan_waiting" => scan_waiting;
}

email_jobs! {
    /// To the user who uploaded the file, and to the owners of the organisation.
    NotifyInfected "files.notify_infected" Notice {
        email: EmailAddress,
        account_id: AccountId,
        id: FileId,
        uploaded_by: UserId,
        signature: String
    }
}

/// Enqueues the scan of a file. A job that has failed is repeated at once, and one that waits keeps its place.
pub(super) async fn enqueue(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: FileId,
) -> Result<(), sqlx::Error> {
    let job = ScanFile::of(account_id, id);
    let key = format!("files.scan:{id}");
    let queue = format!("files.scan-{}", id.0.as_u128() % QUEUES);
    let job = SerialJob::new(&job, key, queue, Duration::ZERO)?;
    job_queue::enqueue_serial(conn, &job).await
}

impl ScanFile {
    async fn run_with(&self, state: &AppState) -> Result<(), JobError> {
        let mut tx = scope::begin(&state.db, Scope::Account(self.account_id)).await?;
        let row = store::find(&mut *tx, self.account_id, self.id).await?;
        tx.commit().await?;
        let waiting = row.filter(|row| row.state == State::Scanning);
        let object = waiting.as_ref().and_then(|row| row.object(self.account_id));
        let Some((row, object)) = waiting.zip(object) else {
            return Ok(());
        };
        let began = Instant::now();
        let verdict = scan(state, object).await;
        metrics::observe_file_scan(began, outcome(&verdict));
        match verdict? {
            Some(Verdict::Clean) => pass(state, object).await,
            Some(Verdict::Infected { signature }) => refuse(state, &row, object, signature).await,
            None => Ok(()),
        }
    }
}

/// `None` without a scanner or a store: the file waits.
async fn scan(state: &AppState, object: ObjectKey) -> Result<Option<Verdict>, JobError> {
    let (Some(scanner), Some(storage)) = (&state.scanner, &state.storage) else {
        tracing::warn!(file = %object.id, "a file waits for a virus scanner, and none is configured");
        return Ok(None);
    };
    // Fails sooner than a scan.
    scanner.ping().await?;
    let found = storage.read(&object.text(), None).await?;
    let found = found.ok_or(JobError::Lost)?;
    Ok(Some(scanner.scan(found.body).await?))
}

fn outcome(verdict: &Result<Option<Verdict>, JobError>) -> Scan {
    match verdict {
        Ok(Some(Verdict::Clean)) => Scan::Clean,
        Ok(Some(Verdict::Infected { .. })) => Scan::Infected,
        Err(JobError::Scan(ScanError::Unavailable(_))) => Scan::Unavailable,
        Ok(None) | Err(_) => Scan::Failed,
    }
}

async fn pass(state: &AppState, object: ObjectKey) -> Result<(), JobError> {
    let mut tx = scope::begin(&state.db, Scope::Account(object.account_id)).await?;
    store::set_clean(&mut *tx, object).await?;
    tx.commit().await?;
    Ok(())
}

async fn refuse(
    state: &AppState,
    row: &Row,
    object: ObjectKey,
    signature: String,
) -> Result<(), JobError> {
    let account_id = object.account_id;
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    if !store::set_infected(&mut *tx, object).await? {
        return Ok(());
    }
    tracing::warn!(file = %object.id, signature, "a file is infected");
    let detail = json!({ "file": object.id, "size": row.size, "signature": signature });
    let entry = Event::FileInfected.in_account(account_id);
    tx.audit(entry.about(row.uploaded_by).detail(detail))
        .await?;
    for email in recipients(&mut tx, account_id, row.uploaded_by).await? {
        let (by, signature) = (row.uploaded_by, signature.clone());
        let job = NotifyInfected::to(email, account_id, object.id, by, signature);
        job_queue::enqueue(&mut *tx, &job, None).await?;
    }
    tx.commit().await?;
    // What cannot be deleted now the sweep deletes.
    if let Some(storage) = &state.storage
        && let Err(error) = storage.delete(&object.text()).await
    {
        tracing::debug!(%error, "an object is left to the sweep");
    }
    Ok(())
}

async fn recipients(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    uploaded_by: UserId,
) -> Result<Vec<EmailAddress>, sqlx::Error> {
    let permission = Permission::OrganisationOwn;
    let mut users = organisations::list_with_permission(&mut **tx, account_id, permission).await?;
    if !users.contains(&uploaded_by) {
        users.push(uploaded_by);
    }
    let mut addresses = Vec::new();
    for user in users {
        let found = users::find_own_credentials(&mut **tx, user).await?;
        addresses.extend(found.map(|user| user.email));
    }
    Ok(addresses)
}

impl NotifyInfected {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let organisation = organisations::find_summary(&mut *tx, self.account_id).await?;
        let uploaded_by = users::find_own_credentials(&mut *tx, self.uploaded_by).await?;
        tx.commit().await?;
        let message = EmailMessage::FileInfected {
            file: self.id,
            signature: self.signature.clone(),
            organisation: organisation.map(|organisation| organisation.name),
            by: uploaded_by.map(|user| user.email.as_str().to_owned()),
        };
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}

async fn scan_waiting(state: &AppState) -> Result<(), JobError> {
    let before = state.clock.now() - OVERDUE;
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let waiting = store::list_scanning(&mut *tx, before, BATCH).await?;
    tx.commit().await?;
    let Some(scanner) = &state.scanner else {
        if !waiting.is_empty() {
            tracing::error!(
                files = waiting.len(),
                "files wait for a virus scanner, and none is configured"
            );
        }
        return Ok(());
    };
    // Without a response the jobs keep their backoff.
    if waiting.is_empty() || scanner.ping().await.is_err() {
        return Ok(());
    }
    for file in waiting {
        enqueue(&state.db, file.account_id, file.id).await?;
    }
    Ok(())
}

/// Sets the gauge of the oldest file that waits.
pub async fn sample_waiting(state: &AppState) {
    let oldest = async {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let oldest = store::find_oldest(&mut *tx).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(oldest)
    };
    if let Ok(oldest) = oldest.await {
        let waited = oldest.map(|since| state.clock.now() - since);
        let waited = waited.and_then(|waited| waited.to_std().ok());
        metrics::set_oldest_waiting_file(waited.unwrap_or_default());
    }
}
