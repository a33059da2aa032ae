//! `/files`.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LOCATION,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use file_types::FileType;
use http_toolkit::{
    BodyProblems, Json, Multipart, Page, PageParams, PageRequest, Path, PathProblems, Problem,
    QueryProblems, Routes, TimeCursor,
};
use utoipa_axum::routes;

use super::error::Error;
use super::key::ObjectKey;
use super::model::{File, NewFile, StartedUpload, UploadForm};
use super::range::ByteRange;
use super::{service, store, upload};
use crate::config::Downloads;
use crate::ctx::CallerCtx;
use crate::ids::FileId;
use crate::state::AppState;
use crate::web::{
    CompletionProblems, DownloadProblems, StorageProblems, UploadExpiredProblem, UploadProblems,
};

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_files, create_file))
        .routes(routes!(get_file, delete_file))
        .routes(routes!(complete_file))
        .routes(routes!(get_file_content))
}

pub fn upload_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(upload_file))
}

/// Upload a file through the service.
///
/// A form with the size, optionally the name and the SHA-256, and then one file. It is streamed to the object store: a fault
/// of any part leaves no file. Clients that can reach the store upload to it directly, by `POST /files`. An
/// `Idempotency-Key` is ignored.
#[utoipa::path(post, path = "/upload", tag = "files",
    request_body(content = UploadForm, content_type = "multipart/form-data",
        example = json!({ "size": 14, "file": "id,name\r\n1,Ada" })),
    responses((status = 201, description = "The file.", body = File), BodyProblems, UploadProblems,
        UploadExpiredProblem, StorageProblems))]
async fn upload_file(ctx: CallerCtx, form: Multipart) -> Result<(StatusCode, Json<File>), Problem> {
    let file = upload::receive(ctx, form).await?;
    Ok((StatusCode::CREATED, Json(file)))
}

/// Start the upload of a file.
///
/// Send the bytes with the returned request to the object store, then complete the upload: only then does the file exist.
/// The request is signed for this size, type and hash, and works for an hour. The upload counts towards the limits of
/// the plan at once.
#[utoipa::path(post, path = "", tag = "files",
    request_body(content = NewFile, example = json!({ "name": "invoice 2026-03.pdf", "size": 48_213,
        "content_type": "application/pdf",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" })),
    responses((status = 201, description = "The upload, to be sent and completed.", body = StartedUpload),
        BodyProblems, UploadProblems, StorageProblems))]
async fn create_file(
    ctx: CallerCtx,
    Json(new): Json<NewFile>,
) -> Result<(StatusCode, Json<StartedUpload>), Problem> {
    let started = Box::pin(service::start(&ctx, new)).await?;
    Ok((StatusCode::CREATED, Json(started)))
}

/// Complete an upload.
///
/// Checks size, hash and type of the bytes that have arrived, and makes a file of them, which never changes. Repeated, it
/// returns the same file. Where files are scanned for viruses, its `status` is `scanning` at first: get the file until it is
/// `complete` or `infected`.
#[utoipa::path(post, path = "/{id}/complete", tag = "files",
    params(("id" = FileId, Path, description = "The file's id.")),
    responses((status = 200, description = "The file.", body = File), PathProblems, CompletionProblems,
        StorageProblems))]
async fn complete_file(ctx: CallerCtx, Path(id): Path<FileId>) -> Result<Json<File>, Problem> {
    Ok(Json(Box::pin(service::complete(&ctx, id)).await?))
}

/// List files, newest first.
#[utoipa::path(get, path = "", tag = "files", params(PageParams),
    responses((status = 200, description = "A page of files.", body = Page<File>), QueryProblems))]
async fn list_files(
    ctx: CallerCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<File>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    let page = Page::cut(rows, paged.limit, |file| {
        TimeCursor(file.created_at, file.id.0)
    });
    Ok(Json(page))
}

/// Get a file without its bytes.
#[utoipa::path(get, path = "/{id}", tag = "files",
    params(("id" = FileId, Path, description = "The file's id.")),
    responses((status = 200, description = "The file.", body = File), PathProblems))]
async fn get_file(ctx: CallerCtx, Path(id): Path<FileId>) -> Result<Json<File>, Problem> {
    Ok(Json(service::get(&ctx, id).await?))
}

/// Delete a file.
///
/// Whatever its `status`, it cannot be reached from then on. URLs to download it work until they expire, after 5 minutes.
#[utoipa::path(delete, path = "/{id}", tag = "files",
    params(("id" = FileId, Path, description = "The file's id.")),
    responses((status = 204, description = "The file is deleted."), PathProblems))]
async fn delete_file(ctx: CallerCtx, Path(id): Path<FileId>) -> Result<StatusCode, Problem> {
    service::delete(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download a file.
///
/// Redirects to the object store, or sends the bytes, as the service is set up. Files are attachments: browsers save them.
/// A file that is still being scanned for viruses responds 409 with `Retry-After`.
#[utoipa::path(get, path = "/{id}/content", tag = "files",
    params(("id" = FileId, Path, description = "The file's id."),
        ("Range" = Option<String>, Header, description = "One range of bytes, such as `bytes=0-1023`."),
        ("If-Range" = Option<String>, Header, description = "`ETag` of the file that the range is of.")),
    responses(
        (status = 200, description = "The bytes.", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "The range of bytes.", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 302, description = "`Location` is a URL that downloads the file, for 5 minutes."),
        PathProblems, DownloadProblems, StorageProblems))]
async fn get_file_content(
    ctx: CallerCtx,
    Path(id): Path<FileId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (file, object) = service::get_content(&ctx, id).await?;
    match ctx.files.downloads {
        Downloads::Store => {
            let url = service::sign_download(&ctx, &file, object).await?;
            Ok((StatusCode::FOUND, [(LOCATION, url)]).into_response())
        }
        Downloads::Service => Ok(send(&ctx, &file, object, &headers).await?),
    }
}

/// Sends the bytes of a file, or a range of them.
async fn send(
    ctx: &CallerCtx,
    file: &File,
    object: ObjectKey,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let etag = format!("\"{}\"", file.sha256.hex());
    let range = ByteRange::of(headers, file.size, &etag)?;
    let asked = range.map(ByteRange::header);
    let storage = service::storage(ctx)?;
    let found = storage.read(&object.text(), asked.as_deref()).await?;
    let found = found.ok_or(Error::NotFound)?;
    let file_type = FileType::named(&file.content_type);
    let content_type = file_type.map_or_else(|| file.content_type.clone(), |it| it.header());
    let mut response = Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_DISPOSITION, file.name.disposition())
        .header(CONTENT_LENGTH, found.length)
        .header(ACCEPT_RANGES, "bytes")
        .header(CACHE_CONTROL, "private, no-store")
        .header(ETAG, etag);
    if let Some(range) = range {
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, range.content_range(file.size));
    }
    response
        .body(Body::new(found.body))
        .map_err(|_| Error::NotFound)
}
