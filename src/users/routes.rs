//! `/users/me`.

use http_toolkit::{BodyProblems, Json, Problem, Routes};
use serde_json::json;
use utoipa_axum::routes;

use super::model::{ProfileChanges, User};
use super::store;
use crate::audit::Event;
use crate::ctx::CallerCtx;
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(update_me))
}

/// Separate because a client that has yet to turn on its second factor may call it.
pub fn identity_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_me))
}

/// Get the current user.
#[utoipa::path(get, path = "/me", tag = "users",
    responses((status = 200, description = "The user.", body = User)))]
async fn get_me(ctx: CallerCtx) -> Result<Json<User>, Problem> {
    Ok(Json(
        store::get(&ctx.db, ctx.user_id(), &ctx.avatar_root).await?,
    ))
}

/// Update my profile.
///
/// Omitted fields stay unchanged; `null` clears a field.
#[utoipa::path(patch, path = "/me", tag = "users",
    request_body(content = ProfileChanges, example = json!({ "first_name": "Ada", "last_name": null })),
    responses((status = 200, description = "The updated user.", body = User), BodyProblems))]
async fn update_me(
    ctx: CallerCtx,
    Json(changes): Json<ProfileChanges>,
) -> Result<Json<User>, Problem> {
    let mut tx = ctx.begin().await?;
    let (id, root) = (ctx.user_id(), &ctx.avatar_root);
    let user = store::update(&mut *tx, id, &changes, root, ctx.now()).await?;
    let api_key = ctx.credential().api_key_id();
    let fields: Vec<_> = changes.fields().map(|(name, _)| name).collect();
    let detail = json!({ "fields": fields, "api_key": api_key });
    tx.audit(Event::ProfileChanged.detail(detail)).await?;
    tx.commit().await?;
    Ok(Json(user))
}
