//! Invoice page, its PDF, and the authentication of a payment.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;

use super::html::{Escaped, anchor, button, error, message_of, not_found, page, redirect};
use crate::stripe::{
    cycles::money,
    error::StripeError,
    invoices, methods, payments,
    server::Shared,
    state::{State as Objects, int, text},
};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/i/{invoice}", get(show))
        .route("/i/{invoice}/pdf", get(pdf))
        .route("/i/{invoice}/pay", post(pay))
        .route("/receipts/{charge}", get(receipt))
        .route("/authenticate/{intent}", get(show_authentication))
        .route("/authenticate/{intent}/{answer}", post(authenticate))
}

async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    account.with(|state| render(state, &id, ""))
}

fn render(state: &Objects, id: &str, message: &str) -> Response {
    let invoice = state.read(id);
    let lines = invoice["lines"]["data"].as_array().into_iter().flatten();
    let rows: Vec<String> = lines
        .map(|line| {
            let (description, amount) = (text(line, "description"), int(line, "amount"));
            format!(
                "<tr><td>{}</td><td>{}</td></tr>",
                Escaped(description),
                money(amount)
            )
        })
        .collect();
    let rows = rows.concat();
    let mut body = format!(
        "{}<p>{}: <strong id=\"status\">{}</strong></p><table>{rows}<tr><th>Total</th><th>{} {}</th></tr></table>",
        error(message),
        Escaped(invoice["number"].as_str().unwrap_or("Draft")),
        Escaped(text(&invoice, "status")),
        money(int(&invoice, "total")),
        Escaped(&text(&invoice, "currency").to_uppercase()),
    );
    if invoice["status"] == "open" {
        body.push_str(&button(&format!("/i/{id}/pay"), "pay", "Pay"));
        if let Some((_, intent)) = invoices::payment_of(state, id)
            && state.read(&intent)["status"] == "requires_action"
        {
            let link = format!("/authenticate/{intent}");
            body.push_str(&anchor("authenticate", &link, "Authenticate"));
        }
    }
    page("Invoice", &body)
}

async fn pay(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    account.with(|state| match pay_by_card(state, &id) {
        Ok(()) => redirect(&format!("/i/{id}")),
        Err(refusal) => render(state, &id, &message_of(&refusal)),
    })
}

fn pay_by_card(state: &mut Objects, id: &str) -> Result<(), StripeError> {
    let invoice = state.find("invoice", id, "id")?;
    if invoice["status"] != "open" {
        return Err(StripeError::invalid("This invoice is not open."));
    }
    let customer = invoice["customer"].as_str().map(str::to_owned);
    let method = methods::resolve(state, "pm_card_visa", customer.as_deref(), "payment_method")?;
    invoices::collect(state, id, Some(method))
}

/// An empty page in PDF.
async fn pdf(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    const PDF: &str = "%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
        3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 144]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    if shared.owner_of(&id).is_none() {
        return not_found();
    }
    ([(header::CONTENT_TYPE, "application/pdf")], PDF).into_response()
}

async fn receipt(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let charge: Value = account.with(|state| state.read(&id));
    let body = format!(
        "<p>{} {}</p>",
        money(int(&charge, "amount")),
        Escaped(&text(&charge, "currency").to_uppercase())
    );
    page("Receipt", &body)
}

async fn show_authentication(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    if account.with(|state| state.read(&id)["status"] != "requires_action") {
        return page(
            "Authentication",
            "<p id=\"status\">Nothing waits for authentication.</p>",
        );
    }
    let body = format!(
        "<p>The bank asks whether it is you.</p>{}{}",
        button(&format!("/authenticate/{id}/approve"), "approve", "Approve"),
        button(&format!("/authenticate/{id}/fail"), "fail", "Fail"),
    );
    page("Authentication", &body)
}

async fn authenticate(
    State(shared): State<Arc<Shared>>,
    Path((id, answer)): Path<(String, String)>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let back = account.with(|state| {
        let intent = state.read(&id);
        if intent["status"] != "requires_action" {
            return Value::Null;
        }
        let attempt = payments::authenticate(state, &id, answer == "approve");
        payments::settle(state, &id, &attempt);
        intent["next_action"]["redirect_to_url"]["return_url"].clone()
    });
    match back.as_str() {
        Some(url) => redirect(url),
        None => redirect(&format!("/authenticate/{id}")),
    }
}
