//! `/payments`.

use axum::http::StatusCode;
use http_toolkit::{
    BodyProblems, Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems,
    Routes, TimeCursor,
};
use utoipa_axum::routes;

use super::error::Error;
use super::model::{CreatedPayment, NewPayment, Payment, PaymentFilter};
use super::{service, store};
use crate::ctx::CallerCtx;
use crate::ids::PaymentId;
use crate::state::AppState;
use crate::web::BillingProblems;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_payments, create_payment))
        .routes(routes!(get_payment))
}

/// Create a payment.
///
/// Creates a payment intent at Stripe. The payer pays it in the browser with the `client_secret` and Stripe.js: card data
/// never reaches this service. A repetition with the same `Idempotency-Key` returns the same payment, also after a
/// response that was lost.
#[utoipa::path(post, path = "", tag = "billing",
    request_body(content = NewPayment,
        example = json!({ "amount": 2_900, "currency": "USD", "description": "Ten hours of consulting" })),
    responses((status = 201, description = "The payment, to be paid.", body = CreatedPayment), BodyProblems,
        BillingProblems))]
async fn create_payment(
    ctx: CallerCtx,
    Json(new): Json<NewPayment>,
) -> Result<(StatusCode, Json<CreatedPayment>), Problem> {
    let created = Box::pin(service::create(&ctx, &new)).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List payments, newest first.
#[utoipa::path(get, path = "", tag = "billing", params(PaymentFilter, PageParams),
    responses((status = 200, description = "A page of payments.", body = Page<Payment>), QueryProblems))]
async fn list_payments(
    ctx: CallerCtx,
    paged: PageRequest<TimeCursor, PaymentFilter>,
) -> Result<Json<Page<Payment>>, Problem> {
    let status = paged.filter.status;
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), status, paged.after, paged.limit).await?;
    tx.commit().await?;
    let page = Page::cut(rows, paged.limit, |payment| {
        TimeCursor(payment.created_at, payment.id.0)
    });
    Ok(Json(page))
}

/// Get a payment.
#[utoipa::path(get, path = "/{id}", tag = "billing",
    params(("id" = PaymentId, Path, description = "The payment's id.")),
    responses((status = 200, description = "The payment.", body = Payment), PathProblems))]
async fn get_payment(ctx: CallerCtx, Path(id): Path<PaymentId>) -> Result<Json<Payment>, Problem> {
    let mut tx = ctx.begin().await?;
    let payment = store::find(&mut *tx, ctx.account_id(), id).await?;
    tx.commit().await?;
    Ok(Json(payment.ok_or(Error::NotFound)?))
}
