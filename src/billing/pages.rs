//! Page that users return to from checkout and the portal. It makes sure that what was bought is stored, also if no
//! webhook has come, and leads on to the product's own page if there is one.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http_toolkit::{Problem, Query, Routes};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{checkout, store};
use crate::auth::{PAGE_HEAD, PAGE_POLICY};
use crate::ctx::Ctx;
use crate::ids::AccountId;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

pub fn page_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_billing_return))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReturnQuery {
    /// Checkout session that the user returns from; absent after a checkout that was abandoned, and after the portal.
    session_id: Option<String>,
}

/// Return from checkout or the customer portal.
///
/// Leads on to `BILLING_RETURN_URL` with `?checkout=complete` or `?checkout=open`, where it is set.
#[utoipa::path(get, path = "/billing-return", tag = "pages", params(ReturnQuery),
    responses(
        (status = 200, description = "A page that says whether the plan is active.", content_type = "text/html", body = String),
        (status = 303, description = "The product's own page."),
    ))]
async fn show_billing_return(
    State(state): State<AppState>,
    ctx: Ctx,
    Query(query): Query<ReturnQuery>,
) -> Result<Response, Problem> {
    let is_complete = match &query.session_id {
        Some(session) => is_complete(&ctx, session).await,
        None => false,
    };
    if let Some(url) = &state.billing.return_url {
        let mut url = url.clone();
        let outcome = if is_complete { "complete" } else { "open" };
        url.query_pairs_mut().append_pair("checkout", outcome);
        return Ok(Redirect::to(url.as_str()).into_response());
    }
    let body = if is_complete {
        include_str!("pages/complete.html")
    } else {
        include_str!("pages/open.html")
    };
    Ok(([PAGE_POLICY], Html([PAGE_HEAD, body].concat())).into_response())
}

/// Also true when Stripe does not respond and a webhook has come.
async fn is_complete(ctx: &Ctx, session: &str) -> bool {
    let Some(account_id) = find_account(ctx, session).await else {
        return false;
    };
    match checkout::complete(ctx, account_id).await {
        Ok(is_complete) => is_complete,
        Err(error) => {
            tracing::warn!(%error, "the subscription of a checkout cannot be read");
            false
        }
    }
}

async fn find_account(ctx: &Ctx, session: &str) -> Option<AccountId> {
    let mut tx = scope::begin(&ctx.db, Scope::Exception(Exception::Job))
        .await
        .ok()?;
    let found = store::find_session_account(&mut *tx, session).await.ok()?;
    tx.commit().await.ok()?;
    found
}
