//! `/users/me/avatar` and `/avatars/{id}`.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{Json, Path, PathProblems, Problem, RawBody, Routes, body_limit};
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::error::Error;
use super::{service, store};
use crate::ctx::{CallerCtx, Ctx};
use crate::ids::AvatarId;
use crate::state::AppState;
use crate::users::model::User;
use crate::web::{AvatarProblems, StorageProblems};

/// Bytes of a picture as it is sent.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

const CACHED: &str = "public, max-age=300";
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

pub fn avatar_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(put_avatar, delete_avatar).layer(body_limit(BODY_LIMIT)))
}

pub fn public_avatar_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_avatar))
}

/// Set my picture.
///
/// The square in the middle is kept, at most 512 pixels wide, without metadata such as location and camera. The body is a PNG, JPEG
/// or WebP of at most 2 MiB and 16 million pixels.
#[utoipa::path(put, path = "/me/avatar", tag = "users",
    request_body(content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp")),
        description = "The picture."),
    responses((status = 200, description = "The user, with the address of the picture.", body = User), AvatarProblems,
        StorageProblems))]
async fn put_avatar(
    ctx: CallerCtx,
    headers: HeaderMap,
    RawBody(bytes): RawBody,
) -> Result<Json<User>, Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let stored = service::put(&ctx, content_type.unwrap_or_default(), bytes);
    Ok(Json(Box::pin(stored).await?))
}

/// Remove my picture.
///
/// Its address responds 404 from then on, apart from caches for five minutes. Repeated, it has no effect.
#[utoipa::path(delete, path = "/me/avatar", tag = "users",
    responses((status = 204, description = "There is no picture.")))]
async fn delete_avatar(ctx: CallerCtx) -> Result<StatusCode, Problem> {
    service::delete(&ctx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the picture of a user.
///
/// The address is public, cannot be guessed, and stays the same when the picture changes.
#[utoipa::path(get, path = "/avatars/{id}", tag = "users",
    params(("id" = uuid::Uuid, Path, description = "Id of the picture, as in `avatar_url`."),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the picture that the client has.")),
    responses(
        (status = 200, description = "The picture.", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"))),
        (status = 304, description = "The client has this picture."),
        PathProblems, StorageProblems))]
async fn get_avatar(
    ctx: Ctx,
    Path(id): Path<AvatarId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(send(&ctx, id, &headers).await?)
}

async fn send(ctx: &Ctx, id: AvatarId, headers: &HeaderMap) -> Result<Response, Error> {
    let avatar = store::find(&ctx.db, id).await?.ok_or(Error::NotFound)?;
    let etag = format!("\"{}\"", avatar.object.object_id);
    let common = [
        (ETAG, etag.as_str()),
        (CACHE_CONTROL, CACHED),
        (CONTENT_SECURITY_POLICY, POLICY),
        // Pages of other origins show it.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ];
    let known = headers.get_all(IF_NONE_MATCH).into_iter();
    let mut known = known.filter_map(|value| value.to_str().ok());
    if known.any(|value| value == "*" || value.split(',').any(|it| it.trim() == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let found = service::storage(ctx)?
        .read(&avatar.object.key(), None)
        .await?;
    let found = found.ok_or(Error::NotFound)?;
    let own = [
        (CONTENT_TYPE, avatar.content_type),
        (CONTENT_LENGTH, found.length.to_string()),
    ];
    Ok((common, own, Body::new(found.body)).into_response())
}
