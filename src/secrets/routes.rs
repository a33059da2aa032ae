//! `/secrets`. Programs may store and list them; the value is shown to persons alone.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::response::IntoResponse;
use http_toolkit::{
    Json, Page, PageParams, PageRequest, Path, PathProblems, Preconditions, Problem, QueryProblems,
    Routes, body_limit, problem_groups as plain_problem_groups,
};
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::model::{
    BODY_LIMIT, NameCursor, NewValue, Restoration, Reveal, RevealedSecret, SecretName,
    SecretVersions, TaggedSecret,
};
use super::{service, store};
use crate::auth::problem_groups;
use crate::ctx::{CallerCtx, UserCtx};
use crate::state::AppState;
use crate::web::Code;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_secrets))
        .routes(routes!(put_secret, delete_secret).layer(body_limit(BODY_LIMIT)))
        .routes(routes!(list_secret_versions))
        .routes(routes!(restore_secret))
}

/// Requires a session: API keys are rejected.
pub fn reveal_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(reveal_secret))
}

problem_groups! {
    PutProblems [NotFound, TooManySecrets, PreconditionFailed];
    RestoreProblems [NotFound, PreconditionFailed];
    RevealProblems [NotFound, Conflict, TooManyAttempts];
}

plain_problem_groups! {
    DeleteProblems [Code::BadRequest, Code::NotFound, Code::PreconditionFailed];
}

/// List secrets, by name.
///
/// Without their values.
#[utoipa::path(get, path = "", tag = "secrets", params(PageParams),
    responses((status = 200, description = "A page of secrets.", body = Page<TaggedSecret>), QueryProblems))]
async fn list_secrets(
    ctx: CallerCtx,
    paged: PageRequest<NameCursor>,
) -> Result<Json<Page<TaggedSecret>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    let rows = rows.into_iter().map(TaggedSecret::from).collect();
    let page = Page::cut(rows, paged.limit, |it: &TaggedSecret| {
        NameCursor(it.secret.name.clone())
    });
    Ok(Json(page))
}

/// Store a secret.
///
/// Creates the secret, or stores the value as its next version; the last five versions are kept. Send the entity tag of
/// the version that you have read as `If-Match`, so that a change of somebody else is not overwritten, or
/// `If-None-Match: *` to create a secret only.
#[utoipa::path(put, path = "/{name}", tag = "secrets",
    params(("name" = SecretName, Path, description = "Name of the secret."),
        ("If-Match" = Option<String>, Header, description = "Entity tag of the version to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no secret of this name.")),
    request_body(content = NewValue, example = json!({ "value": "token_4eC39HqLyjWDarjtT1zdp7dc" })),
    responses(
        (status = 200, description = "The secret with its next version.", body = TaggedSecret,
            headers(("ETag" = String, description = "Entity tag of the version."))),
        (status = 201, description = "The new secret.", body = TaggedSecret,
            headers(("ETag" = String, description = "Entity tag of the version."))),
        PutProblems))]
async fn put_secret(
    ctx: CallerCtx,
    Path(name): Path<SecretName>,
    conditions: Preconditions,
    Json(new): Json<NewValue>,
) -> Result<impl IntoResponse, Problem> {
    let (secret, is_new) = service::put(&ctx, &name, &new.value, &conditions).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, tagged(secret.into())))
}

/// Delete a secret.
///
/// With all its versions.
#[utoipa::path(delete, path = "/{name}", tag = "secrets",
    params(("name" = SecretName, Path, description = "Name of the secret."),
        ("If-Match" = Option<String>, Header, description = "Entity tag of the version to delete.")),
    responses((status = 204, description = "The secret has been deleted."), DeleteProblems))]
async fn delete_secret(
    ctx: CallerCtx,
    Path(name): Path<SecretName>,
    conditions: Preconditions,
) -> Result<StatusCode, Problem> {
    service::delete(&ctx, &name, &conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the versions of a secret that are kept, newest first.
#[utoipa::path(get, path = "/{name}/versions", tag = "secrets",
    params(("name" = SecretName, Path, description = "Name of the secret.")),
    responses((status = 200, description = "At most five versions.", body = SecretVersions), PathProblems))]
async fn list_secret_versions(
    ctx: CallerCtx,
    Path(name): Path<SecretName>,
) -> Result<Json<SecretVersions>, Problem> {
    Ok(Json(service::list_versions(&ctx, &name).await?))
}

/// Restore an earlier version of a secret.
///
/// Stores the value of the version as the next one.
#[utoipa::path(post, path = "/{name}/restore", tag = "secrets",
    params(("name" = SecretName, Path, description = "Name of the secret."),
        ("If-Match" = Option<String>, Header, description = "Entity tag of the version to replace.")),
    request_body(content = Restoration, example = json!({ "version": 3 })),
    responses(
        (status = 200, description = "The secret with its next version.", body = TaggedSecret,
            headers(("ETag" = String, description = "Entity tag of the version."))),
        RestoreProblems))]
async fn restore_secret(
    ctx: CallerCtx,
    Path(name): Path<SecretName>,
    conditions: Preconditions,
    Json(restoration): Json<Restoration>,
) -> Result<impl IntoResponse, Problem> {
    let secret = service::restore(&ctx, &name, restoration.version, &conditions).await?;
    Ok(tagged(secret.into()))
}

/// Reveal the value of a secret.
///
/// Requires the password and, if the caller has a second factor, a code or a recovery code. Recorded in the audit log;
/// at the first time of a day those who manage the account's secrets get an email.
#[utoipa::path(post, path = "/{name}/reveal", tag = "secrets",
    params(("name" = SecretName, Path, description = "Name of the secret.")),
    request_body(content = Reveal, examples(
        ("password" = (summary = "With the password", value = json!({
            "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 200, description = "The value. It must not be stored by caches.", body = RevealedSecret),
        RevealProblems))]
async fn reveal_secret(
    ctx: UserCtx,
    Path(name): Path<SecretName>,
    Json(reveal): Json<Reveal>,
) -> Result<impl IntoResponse, Problem> {
    let revealed = service::reveal(&ctx, &name, reveal).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(revealed)))
}

fn tagged(secret: TaggedSecret) -> impl IntoResponse {
    ([(ETAG, secret.etag.clone())], Json(secret))
}
