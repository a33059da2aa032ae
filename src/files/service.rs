//! Upload, completion, download and deletion.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{after, uuid_v7};
use http_toolkit::spend;
use object_store::{Hashed, ObjectInfo, ObjectStore, Upload};
use rate_limit::{Key, LimitCheck};
use serde_json::json;

use super::error::Error;
use super::key::{self, ObjectKey};
use super::model::{Announced, File, NewFile, Row, StartedUpload, UploadRequest};
use super::state::{FileStatus, State};
use super::store::{FileObject, StoredFile};
use super::{scan, store};
use crate::audit::Event;
use crate::config::FileLimits;
use crate::ctx::CallerCtx;
use crate::ids::FileId;
use crate::metrics::{self, Repair};
use crate::organisations;
use crate::plans;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// How long an upload can be sent and completed.
const UPLOAD_TTL: Duration = Duration::from_hours(1);

/// How long a URL to download is valid.
const DOWNLOAD_TTL: Duration = Duration::from_mins(5);

pub(super) fn storage(state: &AppState) -> Result<&ObjectStore, Error> {
    state.storage.as_ref().ok_or(Error::NotConfigured)
}

/// Limits of the account's plan.
pub(super) async fn limits(ctx: &CallerCtx) -> Result<FileLimits, Error> {
    let plan = plans::plan_of(ctx, ctx.account_id()).await?;
    Ok(plan.tier(&ctx.plans).files)
}

/// Upload that begins now.
pub(super) struct Begun {
    pub(super) id: FileId,
    pub(super) at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Begun {
    /// Counts it towards the rate limit of the user.
    pub(super) async fn new(ctx: &CallerCtx) -> Result<Self, Error> {
        let check = LimitCheck::spend(ctx.limits.upload, Key::user(ctx.user_id().0));
        let spent = spend(&ctx.limiter, &[check]).await;
        spent.map_err(Error::Limited)?;
        let at = ctx.now();
        Ok(Self {
            id: FileId::new(at, &ctx.rng),
            at,
            expires_at: after(at, UPLOAD_TTL),
        })
    }
}

/// Reserves the file within the limits of the plan, and signs its upload.
pub(super) async fn start(ctx: &CallerCtx, new: NewFile) -> Result<StartedUpload, Error> {
    let storage = storage(ctx)?;
    let limits = limits(ctx).await?;
    let sha256 = new.sha256;
    let new = new.check(&ctx.files, &limits)?;
    let begun = Begun::new(ctx).await?;
    let upload = Upload {
        size: new.size.bytes(),
        content_type: new.file_type.as_str(),
        sha256: sha256.bytes(),
    };
    let staging = key::staging(ctx.account_id(), begun.id);
    let signed = storage.presign_put(&staging, upload, UPLOAD_TTL).await?;
    reserve(ctx, &begun, &limits, &new).await?;
    // Clients set these two themselves.
    let is_set = |name: &str| matches!(name, "host" | "content-length");
    let headers = signed.headers.into_iter();
    Ok(StartedUpload {
        id: begun.id,
        upload: UploadRequest {
            method: "PUT",
            url: signed.url,
            headers: headers.filter(|(name, _)| !is_set(name)).collect(),
            expires_at: begun.expires_at,
        },
    })
}

/// Inserts the pending row of an upload, if the file is within the limits of the plan.
pub(super) async fn reserve(
    ctx: &CallerCtx,
    begun: &Begun,
    limits: &FileLimits,
    new: &Announced,
) -> Result<(), Error> {
    let account_id = ctx.account_id();
    let mut tx = ctx.begin().await?;
    // Serializes uploads of the account, so that each counts the ones before.
    if !organisations::lock_account(&mut *tx, account_id).await? {
        return Err(Error::NoAccount);
    }
    let stored = store::count(&mut *tx, account_id, begun.at).await?;
    stored.check(new.size.get(), limits)?;
    let owner = (account_id, ctx.user_id(), begun.id);
    store::insert(&mut *tx, owner, new, begun.expires_at, begun.at).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes the pending row of an upload whose bytes can never be a file.
pub(super) async fn abandon(ctx: &CallerCtx, id: FileId) -> Result<(), Error> {
    let mut tx = ctx.begin().await?;
    store::delete_pending(&mut *tx, ctx.account_id(), id).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes the file of what has arrived. Repeated, it returns the same file.
pub(super) async fn complete(ctx: &CallerCtx, id: FileId) -> Result<File, Error> {
    let row = find(ctx, id).await?;
    if row.state != State::Pending {
        return row.into_file().ok_or(Error::NotFound);
    }
    let expires_at = row.upload_expires_at;
    // One that is received through the service is not completed by its client.
    let file = row.with_status(new_status(ctx)).ok_or(Error::NotFound)?;
    if expires_at <= ctx.now() {
        return Err(Error::UploadExpired);
    }
    let storage = storage(ctx)?;
    let account_id = ctx.account_id();
    let staging = key::staging(account_id, id);
    // What is obviously no such file is not copied.
    match storage.find(&staging).await? {
        None => return completed_by_another(ctx, id, Error::UploadMissing).await,
        Some(found) if !may_be(&file, found) => return Err(Error::UploadDiffers),
        Some(_) => {}
    }
    // Of this attempt alone, so that no other one can write to what is checked here.
    let object = new_object(ctx, id);
    let copy = object.text();
    if !storage.copy(&staging, &copy, &file.content_type).await? {
        return completed_by_another(ctx, id, Error::UploadMissing).await;
    }
    let completed = match check(ctx, storage, &copy, &file).await {
        Ok(()) => finish(ctx, &file, object).await,
        Err(error) => Err(error),
    };
    if let Err(Error::TypeNotAllowed) = completed {
        abandon(ctx, id).await?;
    }
    // What cannot be deleted now the sweep deletes.
    match &completed {
        Ok(true) => delete_object(storage, &staging).await,
        Ok(false) | Err(Error::UploadDiffers | Error::UploadMissing) => {
            delete_object(storage, &copy).await;
        }
        Err(Error::TypeNotAllowed) => {
            delete_object(storage, &copy).await;
            delete_object(storage, &staging).await;
        }
        // The outcome of the transaction may be unknown.
        Err(_) => {}
    }
    if completed? {
        return Ok(file);
    }
    completed_by_another(ctx, id, Error::UploadExpired).await
}

/// The file of an attempt that was faster, or `otherwise`.
async fn completed_by_another(
    ctx: &CallerCtx,
    id: FileId,
    otherwise: Error,
) -> Result<File, Error> {
    let row = find(ctx, id).await?;
    if row.state == State::Pending {
        return Err(otherwise);
    }
    row.into_file().ok_or(Error::NotFound)
}

/// Checks that an object is what was announced.
async fn check(
    ctx: &CallerCtx,
    storage: &ObjectStore,
    copy: &str,
    file: &File,
) -> Result<(), Error> {
    let found = storage.find(copy).await?.ok_or(Error::UploadMissing)?;
    if !may_be(file, found) {
        return Err(Error::UploadDiffers);
    }
    let most = file_types::START;
    let start = if found.sha256.is_some() {
        storage.read_start(copy, most).await?
    } else {
        // The store keeps no checksum.
        let hashed = storage.hash(copy, most).await?;
        let is_other = |hashed: &Hashed| hashed.sha256 != *file.sha256.bytes();
        if hashed.as_ref().is_some_and(is_other) {
            return Err(Error::UploadDiffers);
        }
        hashed.map(|hashed| hashed.start)
    };
    let start = start.ok_or(Error::UploadMissing)?;
    let mut allowed = ctx.files.types.iter();
    let is_of_type = allowed.any(|it| it.as_str() == file.content_type && it.fits(&start));
    is_of_type.then_some(()).ok_or(Error::TypeNotAllowed)
}

/// Compares an object with what was announced, by what the store knows of it.
fn may_be(file: &File, found: ObjectInfo) -> bool {
    found.size == file.size.unsigned_abs()
        && found.sha256.is_none_or(|hash| hash == *file.sha256.bytes())
}

/// Key of an object that nothing has written to.
pub(super) fn new_object(ctx: &CallerCtx, id: FileId) -> ObjectKey {
    ObjectKey {
        account_id: ctx.account_id(),
        id,
        object_id: uuid_v7(ctx.now(), &ctx.rng),
    }
}

/// Status of a file that is completed now.
pub(super) fn new_status(ctx: &CallerCtx) -> FileStatus {
    if ctx.scanner.is_some() {
        FileStatus::Scanning
    } else {
        FileStatus::Complete
    }
}

/// Completes the row, and enqueues the scan of a file that needs one; false if another attempt has completed it, or the
/// upload has expired.
pub(super) async fn finish(ctx: &CallerCtx, file: &File, object: ObjectKey) -> Result<bool, Error> {
    let needs_scan = file.status == FileStatus::Scanning;
    let mut tx = ctx.begin().await?;
    if !store::complete(&mut *tx, object, file.sha256, needs_scan, ctx.now()).await? {
        return Ok(false);
    }
    if needs_scan {
        scan::enqueue(&mut *tx, object.account_id, object.id).await?;
    }
    let detail = json!({
        "file": file.id, "size": file.size, "content_type": file.content_type,
        "api_key": ctx.credential().api_key_id(),
    });
    tx.audit(Event::FileUploaded.detail(detail)).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn delete_object(storage: &ObjectStore, key: &str) {
    if let Err(error) = storage.delete(key).await {
        tracing::debug!(%error, "an object is left to the sweep");
    }
}

/// Row of a file in any state.
async fn find(ctx: &CallerCtx, id: FileId) -> Result<Row, Error> {
    let mut tx = ctx.begin().await?;
    let row = store::find(&mut *tx, ctx.account_id(), id).await?;
    tx.commit().await?;
    row.ok_or(Error::NotFound)
}

pub(super) async fn get(ctx: &CallerCtx, id: FileId) -> Result<File, Error> {
    find(ctx, id).await?.into_file().ok_or(Error::NotFound)
}

/// A file that can be downloaded, and the key of its object.
pub(super) async fn get_content(ctx: &CallerCtx, id: FileId) -> Result<(File, ObjectKey), Error> {
    let row = find(ctx, id).await?;
    let object = row.object(ctx.account_id());
    let file = row.into_file().ok_or(Error::NotFound)?;
    match file.status {
        FileStatus::Scanning => Err(Error::Scanning),
        FileStatus::Infected => Err(Error::Infected),
        FileStatus::Complete => Ok((file, object.ok_or(Error::NotFound)?)),
    }
}

/// URL that downloads a file from the store.
pub(super) async fn sign_download(
    ctx: &CallerCtx,
    file: &File,
    object: ObjectKey,
) -> Result<String, Error> {
    let (key, disposition) = (object.text(), file.name.disposition());
    let signed = storage(ctx)?.presign_get(&key, &file.content_type, &disposition, DOWNLOAD_TTL);
    Ok(signed.await?.url)
}

pub(super) async fn delete(ctx: &CallerCtx, id: FileId) -> Result<(), Error> {
    let mut tx = ctx.begin().await?;
    if !store::delete(&mut *tx, ctx.account_id(), id, ctx.now()).await? {
        return Err(Error::NotFound);
    }
    let detail = json!({ "file": id, "api_key": ctx.credential().api_key_id() });
    tx.audit(Event::FileDeleted.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

/// Files in any state with an object, deleted ones included, of these ids.
pub async fn find_stored(state: &AppState, ids: &[FileId]) -> Result<Vec<StoredFile>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let files = store::list_with_objects(&mut *tx, &ids).await?;
    tx.commit().await?;
    Ok(files)
}

/// Completes a lost file whose object is back; without effect on others.
pub async fn set_found(state: &AppState, file: &StoredFile) -> Result<(), sqlx::Error> {
    if file.state != State::Lost {
        return Ok(());
    }
    let object = FileObject {
        account_id: file.account_id,
        id: file.id,
        object_id: file.object_id,
        state: file.state,
    };
    let mut tx = scope::begin(&state.db, Scope::Account(file.account_id)).await?;
    if store::set_lost(&mut *tx, object, false).await? {
        metrics::count_file_repair(Repair::Found);
    }
    tx.commit().await
}
