//! `/api-keys`. Requires a session: API keys are rejected.

use axum::http::StatusCode;
use http_toolkit::{
    Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems, Routes,
    TimeCursor,
};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::routes;

use super::model::{ApiKey, IssuedApiKey, NewApiKey, Rotation};
use super::{service, store};
use crate::auth::problem_groups;
use crate::ctx::UserCtx;
use crate::ids::ApiKeyId;
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(revoke_api_key))
        .routes(routes!(rotate_api_key))
}

problem_groups! {
    CreateProblems [TooManyApiKeys, Conflict, TooManyAttempts];
    RotateProblems [NotFound, Conflict, TooManyAttempts];
}

/// List my API keys, newest first.
///
/// Expired keys are listed for another 30 days, revoked keys are not.
#[utoipa::path(get, path = "", tag = "api keys", params(PageParams),
    responses((status = 200, description = "A page of keys.", body = Page<ApiKey>), QueryProblems))]
async fn list_api_keys(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<ApiKey>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(
        &mut *tx,
        ctx.account_id(),
        paged.after,
        paged.limit,
        ctx.now(),
    )
    .await?;
    tx.commit().await?;
    let page = Page::cut(rows, paged.limit, |key| {
        TimeCursor(key.created_at, key.id.0)
    });
    Ok(Json(page))
}

/// Create an API key.
///
/// Requires the password and, if the account has a second factor, a code or a recovery code. The owner gets an
/// email. The key is returned only once: a hash of it is stored. Programs send it as a bearer token, like an
/// access token; operations on the security of the account reject it.
#[utoipa::path(post, path = "", tag = "api keys",
    request_body(content = NewApiKey, examples(
        ("password" = (summary = "With the password", value = json!({ "name": "Nightly import",
            "scopes": ["usage:read", "events:write"], "expires_in": 7_776_000,
            "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({ "name": "Nightly import",
            "scopes": ["usage:read", "events:write"],
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 201, description = "The new key.", body = IssuedApiKey), CreateProblems))]
async fn create_api_key(
    ctx: UserCtx,
    Json(new): Json<NewApiKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let issued = service::create(&ctx, new).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

/// Revoke an API key.
///
/// Every request with the key is rejected from then on.
#[utoipa::path(delete, path = "/{id}", tag = "api keys",
    params(("id" = ApiKeyId, Path, description = "The key's id.")),
    responses((status = 204, description = "The key has been revoked."), PathProblems))]
async fn revoke_api_key(ctx: UserCtx, Path(id): Path<ApiKeyId>) -> Result<StatusCode, Problem> {
    service::revoke(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate an API key.
///
/// The key gets a new secret. The previous one works for another `overlap` seconds (default: one day), so that
/// programs can be switched over. Until it expires, another rotation is rejected unless its overlap is 0, which
/// ends all secrets but the new one. The key's lifetime starts again. Requires the same proof as creating a key.
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

/// Adds the security scheme of API keys.
pub fn document_keys(api: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("gw_live_<id>_<secret>")
        .description(Some(
            "A key created with `POST /api-keys`, sent like an access token. Each operation that accepts one names \
             the scope that it requires; `read` or `write` without an area are sufficient as well. The others \
             respond with `session_required`.",
        ));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("api_key", SecurityScheme::Http(scheme.build()));
}
