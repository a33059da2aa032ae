//! Checkout page.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use serde_json::Value;

use super::html::{Escaped, button, error, message_of, not_found, page, redirect};
use crate::stripe::{
    checkout::{apply_code, due_text, open},
    checkout_pay::{Outcome, pay},
    error::StripeError,
    form::Params,
    server::Shared,
    state::text,
};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/c/pay/{session}", get(show))
        .route("/c/pay/{session}/code", post(add_code))
        .route(
            "/c/pay/{session}/authenticate",
            get(show_authentication).post(begin_authentication),
        )
        .route("/c/pay/{session}/{act}", post(act))
}

async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let session = account.with(|state| state.read(&id));
    if session["status"] != "open" {
        return over(&session);
    }
    let lines = account.with(|state| state.hidden(&id)["line_items"].clone());
    form(&session, &lines, "")
}

fn over(session: &Value) -> Response {
    let body = format!(
        "<p id=\"status\">This session is {}.</p>",
        Escaped(text(session, "status"))
    );
    page("Checkout", &body)
}

fn form(session: &Value, lines: &Value, message: &str) -> Response {
    let id = text(session, "id");
    let base = format!("/c/pay/{id}");
    let lines = lines.as_array().into_iter().flatten();
    let rows: Vec<String> = lines
        .map(|line| {
            let quantity = line["quantity"].as_i64().unwrap_or(1);
            format!(
                "<li>{quantity} × {}</li>",
                Escaped(text(line, "description"))
            )
        })
        .collect();
    let rows = rows.concat();
    let code = if session["allow_promotion_codes"] == true {
        format!(
            "<form method=\"post\" action=\"{base}/code\"><label>Promotion code <input id=\"promotion-code\" name=\"code\"></label> \
             <button id=\"apply\">Apply</button></form>"
        )
    } else {
        String::new()
    };
    let body = format!(
        "{}<ul>{rows}</ul><p>Due today: <strong id=\"total\">{}</strong></p>{code}<p>{}{}{}{}</p><p>{}</p>",
        error(message),
        Escaped(&due_text(session)),
        button(&format!("{base}/pay"), "pay", "Pay"),
        button(
            &format!("{base}/pay_then_fail"),
            "pay-then-fail",
            "Pay, card fails at renewal"
        ),
        button(&format!("{base}/decline"), "decline", "Pay, card declined"),
        button(
            &format!("{base}/authenticate"),
            "authenticate",
            "Pay, needs authentication"
        ),
        button(&format!("{base}/abandon"), "abandon", "Abandon"),
    );
    page("Checkout", &body)
}

async fn add_code(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let params = Params::parse(&[&body]);
    let (session, lines, message) = account.with(|state| {
        let applied = apply_code(state, &id, params.text("code").unwrap_or_default());
        let message = applied
            .err()
            .map(|error| message_of(&error))
            .unwrap_or_default();
        (
            state.read(&id),
            state.hidden(&id)["line_items"].clone(),
            message,
        )
    });
    form(&session, &lines, &message)
}

async fn begin_authentication(Path(id): Path<String>) -> Response {
    redirect(&format!("/c/pay/{id}/authenticate"))
}

async fn show_authentication(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let session = account.with(|state| state.read(&id));
    if session["status"] != "open" {
        return over(&session);
    }
    let body = format!(
        "<p>The bank asks whether it is you.</p>{}{}",
        button(&format!("/c/pay/{id}/approve"), "approve", "Approve"),
        button(&format!("/c/pay/{id}/fail"), "fail", "Fail"),
    );
    page("Authentication", &body)
}

async fn act(
    State(shared): State<Arc<Shared>>,
    Path((id, act)): Path<(String, String)>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let outcome = match act.as_str() {
        "pay" => Outcome::Paid,
        "pay_then_fail" => Outcome::PaidThenFails,
        "decline" => Outcome::Declined,
        "approve" => Outcome::Authenticated,
        "fail" => Outcome::AuthenticationFailed,
        "abandon" => {
            let session = account.with(|state| state.read(&id));
            return match session["cancel_url"].as_str() {
                Some(url) => redirect(&filled(url, &id)),
                None => page(
                    "Checkout",
                    "<p>You left the checkout. Nothing was bought.</p>",
                ),
            };
        }
        _ => return not_found(),
    };
    let (session, lines, result): (Value, Value, Result<Value, StripeError>) =
        account.with(|state| {
            let result = open(state, &id)
                .cloned()
                .and_then(|_| pay(state, &id, outcome));
            (
                state.read(&id),
                state.hidden(&id)["line_items"].clone(),
                result,
            )
        });
    match result {
        Ok(session) => redirect(&filled(text(&session, "success_url"), &id)),
        Err(_) if session["status"] != "open" => over(&session),
        Err(error) => form(&session, &lines, &message_of(&error)),
    }
}

fn filled(url: &str, session: &str) -> String {
    url.replace("{CHECKOUT_SESSION_ID}", session)
}
