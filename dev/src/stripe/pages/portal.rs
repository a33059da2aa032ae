//! Portal page.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use serde_json::Value;

use super::html::{Escaped, anchor, button, error, message_of, not_found, page, redirect};
use crate::stripe::{
    catalog::is_metered,
    cycles::money,
    portal_acts::{PortalAct, act as perform, subscription_of},
    server::Shared,
    state::{State as Objects, int, text},
    subscriptions::{items, period_end},
};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/p/session/{session}", get(show))
        .route("/p/session/{session}/{act}", post(act))
}

async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    account.with(|state| render(state, &id, ""))
}

fn render(state: &Objects, id: &str, message: &str) -> Response {
    let session = state.read(id);
    if session["object"] != "billing_portal.session" {
        return not_found();
    }
    let customer = text(&session, "customer");
    let base = format!("/p/session/{id}");
    let mut body = error(message);
    if let Some(subscription) = subscription_of(state, customer) {
        body.push_str(&subscription_part(state, &state.read(&subscription), &base));
    } else {
        body.push_str("<p id=\"status\">No subscription.</p>");
    }
    body.push_str("<h2>Card</h2>");
    body.push_str(&button(
        &format!("{base}/card-good"),
        "card-good",
        "New card that pays",
    ));
    body.push_str(&button(
        &format!("{base}/card-failing"),
        "card-failing",
        "New card that fails",
    ));
    body.push_str("<h2>Invoices</h2><table id=\"invoices\">");
    for invoice in state
        .all("invoice")
        .rev()
        .filter(|invoice| invoice["customer"] == customer)
    {
        body.push_str(&invoice_row(invoice));
    }
    body.push_str("</table>");
    if let Some(url) = session["return_url"].as_str() {
        body.push_str(&anchor("return", url, "Return"));
    }
    page("Your subscription", &body)
}

fn invoice_row(invoice: &Value) -> String {
    format!(
        "<tr><td><a href=\"{}\">{}</a></td><td>{} {}</td><td>{}</td></tr>",
        Escaped(text(invoice, "hosted_invoice_url")),
        Escaped(invoice["number"].as_str().unwrap_or("draft")),
        money(int(invoice, "total")),
        Escaped(&text(invoice, "currency").to_uppercase()),
        Escaped(text(invoice, "status")),
    )
}

fn subscription_part(state: &Objects, subscription: &Value, base: &str) -> String {
    let current = items(subscription)
        .first()
        .map_or("", |item| text(&item["price"], "id"));
    let end = subscription["cancel_at"].as_i64();
    let until = if end.is_some() { "Ends" } else { "Renews" };
    let at = chrono::DateTime::from_timestamp(end.unwrap_or_else(|| period_end(subscription)), 0);
    let mut part = format!(
        "<p>Status: <strong id=\"status\">{}</strong>. {until} on {}.</p>",
        Escaped(text(subscription, "status")),
        at.map(|at| at.format("%Y-%m-%d").to_string())
            .unwrap_or_default(),
    );
    if end.is_some() {
        part.push_str(&button(
            &format!("{base}/resume"),
            "resume",
            "Keep the subscription",
        ));
    } else {
        part.push_str(&button(
            &format!("{base}/cancel"),
            "cancel",
            "Cancel the subscription",
        ));
    }
    part.push_str("<h2>Plans</h2>");
    let others = state.all("price").filter(|price| {
        price["active"] == true
            && price["recurring"].is_object()
            && !is_metered(price)
            && price["id"] != current
    });
    for price in others {
        let id = text(price, "id");
        let product = state.read(text(price, "product"));
        let label = format!(
            "{}: {} {} each {}",
            text(&product, "name"),
            money(int(price, "unit_amount")),
            text(price, "currency").to_uppercase(),
            text(&price["recurring"], "interval"),
        );
        part.push_str(&button(
            &format!("{base}/plan-{id}"),
            &format!("plan-{id}"),
            &label,
        ));
    }
    part
}

async fn act(
    State(shared): State<Arc<Shared>>,
    Path((id, act)): Path<(String, String)>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let wanted = match act.as_str() {
        "cancel" => PortalAct::Cancel,
        "resume" => PortalAct::Resume,
        "card-good" => PortalAct::NewCard("pm_card_visa".into()),
        "card-failing" => PortalAct::NewCard("pm_card_chargeCustomerFail".into()),
        act => match act.strip_prefix("plan-") {
            Some(price) => PortalAct::ChangePrice(price.into()),
            None => return not_found(),
        },
    };
    account.with(|state| {
        let customer = text(&state.read(&id), "customer").to_owned();
        match perform(state, &customer, &wanted) {
            Ok(_) => redirect(&format!("/p/session/{id}")),
            Err(refusal) => render(state, &id, &message_of(&refusal)),
        }
    })
}
