//! `/users/me/consents` and `/legal`.

use http_toolkit::{BodyProblems, Json, Problem, Routes};
use utoipa_axum::routes;

use super::model::{ConsentChanges, Consents, Legal};
use super::service;
use crate::ctx::{Ctx, UserCtx};
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_consents, change_consents))
}

pub fn public_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_legal))
}

/// Get the documents in force.
///
/// The versions that a sign-up must accept, with their pages, and the contact for requests about personal data.
#[utoipa::path(get, path = "/legal", tag = "privacy",
    responses((status = 200, description = "The documents; none if the product has none.", body = Legal)))]
async fn get_legal(ctx: Ctx) -> Json<Legal> {
    Json(service::legal(&ctx))
}

/// Get my consents.
///
/// Documents with the version that I accepted last, and the optional kinds.
#[utoipa::path(get, path = "/me/consents", tag = "privacy",
    responses((status = 200, description = "The consents.", body = Consents)))]
async fn get_consents(ctx: UserCtx) -> Result<Json<Consents>, Problem> {
    Ok(Json(service::get(&ctx).await?))
}

/// Accept documents, and turn optional kinds on or off.
///
/// Omitted fields stay unchanged. Each change is kept with its time and client. A version other than the one in force is
/// rejected.
#[utoipa::path(put, path = "/me/consents", tag = "privacy",
    request_body(content = ConsentChanges, examples(
        ("choice" = (summary = "Turn a kind on", value = json!({ "product_news": true }))),
        ("documents" = (summary = "Accept documents", value = json!({ "terms": "2026-11-01", "privacy_notice": "2026-11-01" }))))),
    responses((status = 200, description = "The consents after the change.", body = Consents), BodyProblems))]
async fn change_consents(
    ctx: UserCtx,
    Json(changes): Json<ConsentChanges>,
) -> Result<Json<Consents>, Problem> {
    Ok(Json(service::change(&ctx, &changes).await?))
}
