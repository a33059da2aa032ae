//! `/api-keys`: what an account's owner does about its keys. No key opens these routes.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};
use utoipa_axum::routes;

use super::model::{ApiKey, IssuedApiKey, NewApiKey, Rotation};
use super::{service, store};
use crate::ctx::UserCtx;
use crate::ids::ApiKeyId;
use crate::state::AppState;
use crate::web::{
    BodyProblems, Code, Json, Moment, Page, PageParams, Paged, Path, PathProblems, Problem,
    QueryProblems, Routes, problems,
};

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(revoke_api_key))
        .routes(routes!(rotate_api_key))
}

/// My API keys, the newest first.
///
/// A key that expired is listed for another 30 days, a revoked one is not.
#[utoipa::path(get, path = "", tag = "api keys", params(PageParams),
    responses((status = 200, description = "A page of keys.", body = Page<ApiKey>), QueryProblems))]
async fn list_api_keys(ctx: UserCtx, paged: Paged<Moment>) -> Result<Json<Page<ApiKey>>, Problem> {
    let rows = store::list(&ctx.db, ctx.user_id(), paged.after, paged.limit, ctx.now()).await?;
    let page = Page::cut(rows, paged.limit, |key| Moment(key.created_at, key.id.0));
    Ok(Json(page))
}

/// Make an API key.
///
/// It takes the password and, where the account has a second factor, a code or a recovery code; a
/// letter tells the owner. The key itself is shown this once: what is kept is a hash. A program presents it as a bearer token wherever an access token is good,
/// except for what concerns the account's security.
#[utoipa::path(post, path = "", tag = "api keys",
    request_body(content = NewApiKey, examples(
        ("password" = (summary = "With the password", value = json!({ "name": "Nightly import",
            "scopes": ["usage:read", "events:write"], "expires_in": 7_776_000,
            "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({ "name": "Nightly import",
            "scopes": ["usage:read", "events:write"],
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 201, description = "The key.", body = IssuedApiKey), CreateProblems))]
async fn create_api_key(
    ctx: UserCtx,
    Json(new): Json<NewApiKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let issued = service::create(&ctx, new).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

/// Revoke an API key. It is refused from now on.
#[utoipa::path(delete, path = "/{id}", tag = "api keys",
    params(("id" = ApiKeyId, Path, description = "The key's id.")),
    responses((status = 204, description = "The key is revoked."), PathProblems))]
async fn revoke_api_key(ctx: UserCtx, Path(id): Path<ApiKeyId>) -> Result<StatusCode, Problem> {
    service::revoke(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give an API key another secret.
///
/// The secret before works on for `overlap` seconds, a day unless said otherwise, so that programs
/// can be told the new one by and by. While it does, another rotation is refused unless its overlap
/// is 0, which ends all secrets but the new one. The key's life begins anew, as long as before. It
/// takes what making a key does.
#[utoipa::path(post, path = "/{id}/rotate", tag = "api keys",
    params(("id" = ApiKeyId, Path, description = "The key's id.")),
    request_body(content = Rotation, examples(
        ("password" = (summary = "With the password", value = json!({
            "overlap": 86_400, "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 200, description = "The key with its new secret.", body = IssuedApiKey), RotateProblems))]
async fn rotate_api_key(
    ctx: UserCtx,
    Path(id): Path<ApiKeyId>,
    Json(rotation): Json<Rotation>,
) -> Result<Json<IssuedApiKey>, Problem> {
    Ok(Json(service::rotate(&ctx, id, rotation).await?))
}

type Responses = BTreeMap<String, RefOr<Response>>;

struct CreateProblems;

impl IntoResponses for CreateProblems {
    fn responses() -> Responses {
        let mut all = BodyProblems::responses();
        all.extend(problems(&[
            Code::TooManyApiKeys,
            Code::Conflict,
            Code::TooManyAttempts,
        ]));
        all
    }
}

struct RotateProblems;

impl IntoResponses for RotateProblems {
    fn responses() -> Responses {
        let mut all = BodyProblems::responses();
        all.extend(problems(&[
            Code::NotFound,
            Code::Conflict,
            Code::TooManyAttempts,
        ]));
        all
    }
}
