//! `/users/me/export`.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{Json, Path, Problem, Routes};
use utoipa_axum::routes;

use super::model::{Export, ExportProof, LastExport};
use super::{parts, service};
use crate::auth::problem_groups;
use crate::ctx::UserCtx;
use crate::ids::ExportId;
use crate::state::AppState;
use crate::web::StorageProblems;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(request_export, get_export))
        .routes(routes!(download_export))
}

problem_groups! {
    RequestProblems [ExportInProgress, Conflict, TooManyAttempts];
    DownloadProblems [NotFound, Conflict, TooManyAttempts];
}

/// Ask for an export of my data.
///
/// Requires the password, and the second factor if there is one. An email says when the archive is ready, which is then kept for
/// `EXPORT_RETENTION`. One a day can be made; before that the response is 429 with `Retry-After`.
#[utoipa::path(post, path = "/me/export", tag = "privacy",
    request_body(content = ExportProof, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 202, description = "The export, which is being made.", body = Export), RequestProblems))]
async fn request_export(
    ctx: UserCtx,
    Json(proof): Json<ExportProof>,
) -> Result<(StatusCode, Json<Export>), Problem> {
    let export = service::request(&ctx, proof).await?;
    Ok((StatusCode::ACCEPTED, Json(export)))
}

/// Get the state of my last export.
#[utoipa::path(get, path = "/me/export", tag = "privacy",
    responses((status = 200, description = "The export that was asked for last, if there is one.", body = LastExport)))]
async fn get_export(ctx: UserCtx) -> Result<Json<LastExport>, Problem> {
    Ok(Json(service::get(&ctx).await?))
}

/// Download an export of my data.
///
/// A ZIP archive with a JSON file and its schema for each table, a README, and my files. Requires the password, and the second
/// factor if there is one.
#[utoipa::path(post, path = "/me/export/{id}/download", tag = "privacy",
    params(("id" = uuid::Uuid, Path, description = "Id of the export.")),
    request_body(content = ExportProof, example = json!({ "password": "correct horse battery staple" })),
    responses(
        (status = 200, description = "The archive.", content_type = "application/zip", body = Vec<u8>),
        DownloadProblems, StorageProblems))]
async fn download_export(
    ctx: UserCtx,
    Path(id): Path<ExportId>,
    Json(proof): Json<ExportProof>,
) -> Result<Response, Problem> {
    let archive = service::download(&ctx, id, proof).await?;
    let body = parts::read(&ctx, archive)?;
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"export-{id}.zip\""),
        ),
        (CONTENT_LENGTH, archive.size.to_string()),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, body).into_response())
}
