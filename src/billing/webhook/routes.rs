//! `/webhooks/stripe`.

use axum::extract::State;
use axum::http::HeaderMap;
use http_toolkit::{Json, Problem, RawBody, Routes, body_limit};
use serde::Serialize;
use stripe_client::is_signed;
use utoipa::ToSchema;
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::service;
use crate::metrics::Webhook;
use crate::state::AppState;
use crate::web::{Code, WebhookProblems};

/// Body limit in bytes. An event with an invoice of a hundred lines has about 300 KB.
const BODY_LIMIT: usize = 1024 * 1024;

pub fn webhook_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(receive_stripe_event).layer(body_limit(BODY_LIMIT)))
}

/// Event as Stripe sends it, with more fields than these.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body, which is stored as it is")]
struct StripeEvent {
    /// Id of the event.
    id: String,
    /// Type of the event.
    r#type: String,
    /// Time at Stripe, in seconds since 1970.
    created: i64,
    /// Whether it is of live mode.
    livemode: bool,
    /// The object that the event is about.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// Confirmation that an event is stored.
#[derive(Serialize, ToSchema)]
struct Receipt {
    /// Always true.
    received: bool,
}

/// Receive an event of Stripe.
///
/// The event is stored as it is and processed in the background. A repeated event is stored once. Types and
/// versions that are unknown are stored without an effect.
#[utoipa::path(post, path = "/stripe", tag = "billing",
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`: HMAC-SHA256 over the time and the raw body.")),
    request_body(content = StripeEvent, example = json!({
        "id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": 1_790_000_000, "livemode": false,
        "data": { "object": { "id": "sub_1", "object": "subscription", "customer": "cus_1" } }
    })),
    responses((status = 200, description = "The event is stored.", body = Receipt), WebhookProblems))]
async fn receive_stripe_event(
    State(state): State<AppState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<Receipt>, Problem> {
    if state.stripe.is_none() {
        return Err(Code::BillingNotConfigured.into());
    }
    let header = headers.get("stripe-signature");
    let secrets = &state.billing.webhook_secrets;
    let header = header.and_then(|value| value.to_str().ok());
    let now = state.clock.now().timestamp();
    let is_signed = header.is_some_and(|header| is_signed(header, &body, secrets, now));
    if !is_signed {
        Webhook::Refused.count();
        tracing::warn!("a webhook without a valid signature was refused");
        return Err(Code::InvalidSignature.into());
    }
    let accepted = service::accept(&state, &body).await;
    accepted.inspect_err(|_| Webhook::Failed.count())?;
    Ok(Json(Receipt { received: true }))
}
