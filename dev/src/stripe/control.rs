//! Control routes below `/fake/`: the account's handle over HTTP, for scripts and other processes.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Catalog, Outcome, PortalAct, Release, StripeAccount, StripeError, StripeFault,
    server::{Shared, secret_key},
    state::AfterRetries,
};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/fake/{what}", get(read).post(act))
        .route("/fake/objects/{kind}", get(read_objects))
        .route("/fake/object/{id}", get(read_object))
}

/// A `POST /fake/{act}` with its JSON body.
#[derive(Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    Seed {
        catalog: Catalog,
    },
    AddEndpoint {
        url: String,
        secret: String,
        api_version: Option<String>,
        events: Vec<String>,
    },
    RollSecret {
        endpoint: String,
        secret: String,
        keep_old: bool,
    },
    Advance {
        to: Option<i64>,
        by: Option<i64>,
    },
    AfterRetries {
        after: AfterRetries,
    },
    PayCheckout {
        session: String,
        outcome: Outcome,
    },
    ApplyPromotionCode {
        session: String,
        code: String,
    },
    ConfirmPaymentIntent {
        payment_intent: String,
        card: String,
    },
    Authenticate {
        payment_intent: String,
        approved: bool,
    },
    Portal {
        customer: String,
        does: PortalAct,
    },
    Dispute {
        charge: String,
        reason: String,
    },
    CloseDispute {
        dispute: String,
        won: bool,
    },
    Refund {
        charge: String,
        amount: Option<i64>,
    },
    Fault {
        fault: StripeFault,
    },
    ClearFaults,
    ClearRequests,
    Hold,
    Release {
        order: Release,
    },
    DropNext {
        count: usize,
    },
    DuplicateNext {
        count: usize,
        under_new_id: bool,
    },
    Resend {
        event: String,
        under_new_id: bool,
        api_version: Option<String>,
    },
    SignatureOffset {
        seconds: i64,
    },
    Signed {
        event: String,
    },
}

fn account(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<StripeAccount, StripeError> {
    secret_key(headers).map(|key| StripeAccount::new(shared.account(&key)))
}

fn refused(error: &StripeError) -> Response {
    (error.status, Json(error.body("req_fake"))).into_response()
}

fn missing() -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error": { "message": "No such object or control route." } })),
    )
        .into_response()
}

async fn act(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let account = match account(&shared, &headers) {
        Ok(account) => account,
        Err(error) => return refused(&error),
    };
    let body = if body.is_empty() {
        b"{}".as_slice()
    } else {
        &body
    };
    let parsed = serde_json::from_slice(body).and_then(|mut value: Value| {
        if value.is_object() {
            value["act"] = json!(what);
        }
        serde_json::from_value(value)
    });
    let control: Control = match parsed {
        Ok(control) => control,
        Err(error) => return refused(&StripeError::invalid(error.to_string())),
    };
    match perform(&account, control).await {
        Ok(Value::Null) => missing(),
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(&error),
    }
}

async fn perform(account: &StripeAccount, control: Control) -> Result<Value, StripeError> {
    let done = Ok(json!({}));
    match control {
        Control::Seed { catalog } => account.seed(&catalog),
        Control::AddEndpoint {
            url,
            secret,
            api_version,
            events,
        } => {
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            let id = account.add_endpoint(&url, &secret, api_version.as_deref(), &events);
            return Ok(json!({ "id": id }));
        }
        Control::RollSecret {
            endpoint,
            secret,
            keep_old,
        } => account.roll_secret(&endpoint, &secret, keep_old),
        Control::Advance { to, by } => {
            let to = to.unwrap_or_else(|| account.now() + by.unwrap_or(0));
            account.advance_to(to).await;
            return Ok(json!({ "now": account.now() }));
        }
        Control::AfterRetries { after } => account.set_after_retries(after),
        Control::PayCheckout { session, outcome } => {
            return account.pay_checkout(&session, outcome);
        }
        Control::ApplyPromotionCode { session, code } => {
            return account.apply_promotion_code(&session, &code);
        }
        Control::ConfirmPaymentIntent {
            payment_intent,
            card,
        } => {
            return account.confirm_payment_intent(&payment_intent, &card);
        }
        Control::Authenticate {
            payment_intent,
            approved,
        } => return account.authenticate(&payment_intent, approved),
        Control::Portal { customer, does } => return account.portal(&customer, &does),
        Control::Dispute { charge, reason } => return account.dispute(&charge, &reason),
        Control::CloseDispute { dispute, won } => return account.close_dispute(&dispute, won),
        Control::Refund { charge, amount } => return account.refund(&charge, amount),
        Control::Fault { fault } => account.fault(fault),
        Control::ClearFaults => account.clear_faults(),
        Control::ClearRequests => account.clear_requests(),
        Control::Hold => account.hold(),
        Control::Release { order } => account.release(&order),
        Control::DropNext { count } => account.drop_next(count),
        Control::DuplicateNext {
            count,
            under_new_id,
        } => account.duplicate_next(count, under_new_id),
        Control::Resend {
            event,
            under_new_id,
            api_version,
        } => {
            let id = account.resend(&event, under_new_id, api_version.as_deref());
            return Ok(id.map_or(Value::Null, |id| json!({ "id": id })));
        }
        Control::SignatureOffset { seconds } => account.signature_offset(seconds),
        Control::Signed { event } => {
            return Ok(account.signed(&event).map_or(Value::Null, |(signature, body)| {
                json!({ "signature": signature, "body": String::from_utf8_lossy(&body) })
            }));
        }
    }
    done
}

async fn read(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
    headers: HeaderMap,
) -> Response {
    let account = match account(&shared, &headers) {
        Ok(account) => account,
        Err(error) => return refused(&error),
    };
    match what.as_str() {
        "now" => Json(json!({ "now": account.now() })).into_response(),
        "requests" => Json(account.requests()).into_response(),
        "deliveries" => Json(account.deliveries()).into_response(),
        "held" => Json(account.held()).into_response(),
        _ => missing(),
    }
}

async fn read_objects(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
) -> Response {
    match account(&shared, &headers) {
        Ok(account) => Json(account.objects(&kind)).into_response(),
        Err(error) => refused(&error),
    }
}

async fn read_object(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match account(&shared, &headers) {
        Ok(account) => account
            .object(&id)
            .map_or_else(missing, |object| Json(object).into_response()),
        Err(error) => refused(&error),
    }
}
