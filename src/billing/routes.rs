//! `/billing/*`.

use http_toolkit::{BodyProblems, Json, Problem, Routes};
use utoipa_axum::routes;

use super::error::Error;
use super::model::{Billing, HostedPage, NewCheckout};
use super::{checkout, manage};
use crate::ctx::CallerCtx;
use crate::plans;
use crate::state::AppState;
use crate::web::{CancelProblems, CheckoutProblems, PortalProblems, ResumeProblems};

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(show_subscription))
        .routes(routes!(start_checkout))
        .routes(routes!(open_portal))
        .routes(routes!(cancel_subscription))
        .routes(routes!(resume_subscription))
}

/// Show the plan and the subscription of the account.
#[utoipa::path(get, path = "/subscription", tag = "billing",
    responses((status = 200, description = "The plan in effect and the subscription.", body = Billing)))]
async fn show_subscription(ctx: CallerCtx) -> Result<Json<Billing>, Problem> {
    Ok(Json(show(&ctx).await?))
}

async fn show(ctx: &CallerCtx) -> Result<Billing, Error> {
    let account_id = ctx.account_id();
    let subscriptions = manage::list(ctx, account_id).await?;
    Ok(Billing {
        plan: plans::plan_of(ctx, account_id).await?,
        subscription: subscriptions.into_iter().next().map(Into::into),
    })
}

/// Buy a plan.
///
/// Prices, currency and addresses come from the settings. A second call for the same plan returns the page that is
/// open. The subscription begins once the page is paid; `GET /billing/subscription` has it when the user returns.
#[utoipa::path(post, path = "/checkout", tag = "billing",
    request_body(content = NewCheckout, example = json!({ "plan": "pro", "interval": "month" })),
    responses((status = 200, description = "The checkout page.", body = HostedPage), BodyProblems, CheckoutProblems))]
async fn start_checkout(
    ctx: CallerCtx,
    Json(wanted): Json<NewCheckout>,
) -> Result<Json<HostedPage>, Problem> {
    let url = checkout::start(&ctx, wanted).await?;
    Ok(Json(HostedPage { url }))
}

/// Open the customer portal: card, plan, cancellation, invoices.
#[utoipa::path(post, path = "/portal", tag = "billing",
    responses((status = 200, description = "The portal's page.", body = HostedPage), PortalProblems))]
async fn open_portal(ctx: CallerCtx) -> Result<Json<HostedPage>, Problem> {
    let url = manage::open_portal(&ctx).await?;
    Ok(Json(HostedPage { url }))
}

/// Cancel the subscription.
///
/// A paid subscription ends with its period, one that is not paid at once. A second call changes nothing.
#[utoipa::path(post, path = "/cancel", tag = "billing",
    responses((status = 200, description = "The subscription, with the time at which it ends.", body = Billing), CancelProblems))]
async fn cancel_subscription(ctx: CallerCtx) -> Result<Json<Billing>, Problem> {
    manage::cancel(&ctx).await?;
    Ok(Json(show(&ctx).await?))
}

/// Undo the cancellation of a subscription that has not ended.
#[utoipa::path(post, path = "/resume", tag = "billing",
    responses((status = 200, description = "The subscription, which is renewed again.", body = Billing), ResumeProblems))]
async fn resume_subscription(ctx: CallerCtx) -> Result<Json<Billing>, Problem> {
    manage::resume(&ctx).await?;
    Ok(Json(show(&ctx).await?))
}
