//! First page: the objects of each account, its clock, and what happens outside of the service.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, Days, Months, TimeDelta};
use serde_json::Value;

use super::html::{Escaped, button, error, message_of, not_found, page, redirect};
use crate::stripe::{
    StripeAccount, StripeError,
    cycles::money,
    server::Shared,
    state::{State as Objects, int, text},
    subscriptions::{items, period_end},
};

/// Objects of one kind that are shown, the newest first.
const SHOWN: usize = 25;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(show))
        .route("/accounts/{account}/advance/{step}", post(advance))
        .route("/objects/{id}/{act}", post(act))
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    render(&shared, "")
}

fn render(shared: &Shared, message: &str) -> Response {
    let mut parts: Vec<String> = shared
        .accounts()
        .iter()
        .map(|account| account.with(|state| account_part(state)))
        .collect();
    parts.sort();
    if parts.is_empty() {
        parts.push("<p>No account yet: each secret key is one from its first call.</p>".into());
    }
    page("Dashboard", &(error(message) + &parts.concat()))
}

fn account_part(state: &Objects) -> String {
    let id = state.account_id();
    let step = |name: &str, label: &str| {
        let action = format!("/accounts/{id}/advance/{name}");
        button(&action, &format!("advance-{name}"), label)
    };
    [
        format!(
            "<h2>Account <code>{id}</code></h2><p>Its clock: <strong id=\"now\">{}</strong> {}{}{}</p>\
             <p>A renewal is charged an hour after its period ends.</p>",
            time(state.now()),
            step("hour", "+1 hour"),
            step("day", "+1 day"),
            step("month", "+1 month"),
        ),
        table(state, "customer", "Customers", customer_row),
        table(state, "checkout.session", "Checkouts", checkout_row),
        table(state, "subscription", "Subscriptions", subscription_row),
        table(state, "invoice", "Invoices", invoice_row),
        table(state, "payment_intent", "Payments", intent_row),
        table(state, "charge", "Charges", charge_row),
        table(state, "dispute", "Disputes", dispute_row),
        table(state, "event", "Events", event_row),
    ]
    .concat()
}

fn table(state: &Objects, kind: &str, title: &str, row: fn(&Value) -> String) -> String {
    let rows: Vec<String> = state.all(kind).rev().take(SHOWN).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let total = state.all(kind).count();
    let kind = kind.replace('.', "-");
    format!(
        "<h3>{title} ({total})</h3><table id=\"{kind}\">{}</table>",
        rows.concat()
    )
}

fn row(object: &Value, cells: &[String]) -> String {
    format!(
        "<tr><td><code>{}</code></td><td>{}</td></tr>",
        Escaped(text(object, "id")),
        cells.join("</td><td>")
    )
}

fn customer_row(customer: &Value) -> String {
    row(customer, &[cell(customer, "email"), cell(customer, "name")])
}

fn checkout_row(session: &Value) -> String {
    let page = link(session, "url", "page");
    row(session, &[cell(session, "status"), page])
}

fn subscription_row(subscription: &Value) -> String {
    let prices: Vec<&str> = items(subscription)
        .iter()
        .map(|item| text(&item["price"], "id"))
        .collect();
    let until = match subscription["cancel_at"].as_i64() {
        Some(end) => format!("ends {}", time(end)),
        None => format!("renews {}", time(period_end(subscription))),
    };
    row(
        subscription,
        &[
            cell(subscription, "status"),
            Escaped(&prices.join(", ")).to_string(),
            until,
            cell(subscription, "customer"),
        ],
    )
}

fn invoice_row(invoice: &Value) -> String {
    let page = link(invoice, "hosted_invoice_url", "page");
    row(
        invoice,
        &[
            cell(invoice, "status"),
            amount(invoice, "total"),
            cell(invoice, "billing_reason"),
            page,
        ],
    )
}

fn intent_row(intent: &Value) -> String {
    let actions = match text(intent, "status") {
        "requires_payment_method" | "requires_confirmation" => {
            act_button(intent, "pay", "Pay") + &act_button(intent, "decline", "Card declined")
        }
        "requires_action" => format!(
            "<a href=\"/authenticate/{}\">authenticate</a>",
            Escaped(text(intent, "id"))
        ),
        _ => String::new(),
    };
    row(
        intent,
        &[cell(intent, "status"), amount(intent, "amount"), actions],
    )
}

fn charge_row(charge: &Value) -> String {
    let mut actions = String::new();
    if charge["paid"] == true && charge["refunded"] != true {
        actions += &act_button(charge, "refund", "Refund");
        if charge["disputed"] != true {
            actions += &act_button(charge, "dispute", "Dispute");
        }
    }
    let refunded = int(charge, "amount_refunded");
    let refunded = if refunded > 0 {
        format!("{} refunded", money(refunded))
    } else {
        String::new()
    };
    row(
        charge,
        &[
            cell(charge, "status"),
            amount(charge, "amount"),
            refunded,
            actions,
        ],
    )
}

fn dispute_row(dispute: &Value) -> String {
    let actions = if matches!(text(dispute, "status"), "won" | "lost") {
        String::new()
    } else {
        act_button(dispute, "win", "The service wins") + &act_button(dispute, "lose", "It loses")
    };
    row(
        dispute,
        &[cell(dispute, "status"), amount(dispute, "amount"), actions],
    )
}

fn event_row(event: &Value) -> String {
    let delivery = if int(event, "pending_webhooks") > 0 {
        "not accepted yet"
    } else {
        ""
    };
    row(
        event,
        &[
            cell(event, "type"),
            time(int(event, "created")),
            delivery.into(),
        ],
    )
}

fn cell(object: &Value, field: &str) -> String {
    Escaped(text(object, field)).to_string()
}

fn amount(object: &Value, field: &str) -> String {
    let currency = text(object, "currency").to_uppercase();
    format!("{} {}", money(int(object, field)), Escaped(&currency))
}

fn link(object: &Value, field: &str, label: &str) -> String {
    match text(object, field) {
        "" => String::new(),
        url => format!("<a href=\"{}\">{label}</a>", Escaped(url)),
    }
}

fn act_button(object: &Value, act: &str, label: &str) -> String {
    let id = text(object, "id");
    button(
        &format!("/objects/{id}/{act}"),
        &format!("{act}-{id}"),
        label,
    )
}

fn time(unix: i64) -> String {
    DateTime::from_timestamp(unix, 0)
        .map(|at| at.format("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

async fn advance(
    State(shared): State<Arc<Shared>>,
    Path((id, step)): Path<(String, String)>,
) -> Response {
    let account = shared
        .accounts()
        .into_iter()
        .find(|account| account.with(|state| state.account_id()) == id);
    let Some(account) = account else {
        return not_found();
    };
    account.with(|state| {
        let now = DateTime::from_timestamp(state.now(), 0);
        let later = now.and_then(|now| match step.as_str() {
            "hour" => now.checked_add_signed(TimeDelta::hours(1)),
            "day" => now.checked_add_days(Days::new(1)),
            "month" => now.checked_add_months(Months::new(1)),
            _ => None,
        });
        let Some(later) = later else {
            return not_found();
        };
        state.advance_to(later.timestamp());
        redirect("/")
    })
}

async fn act(
    State(shared): State<Arc<Shared>>,
    Path((id, act)): Path<(String, String)>,
) -> Response {
    let Some(account) = shared.owner_of(&id) else {
        return not_found();
    };
    let account = StripeAccount::new(account);
    let done = match act.as_str() {
        "refund" => account.refund(&id, None),
        "dispute" => account.dispute(&id, "fraudulent"),
        "win" => account.close_dispute(&id, true),
        "lose" => account.close_dispute(&id, false),
        "pay" => account.confirm_payment_intent(&id, "pm_card_visa"),
        "decline" => account.confirm_payment_intent(&id, "pm_card_chargeDeclined"),
        _ => return not_found(),
    };
    done.map_or_else(
        |refusal: StripeError| {
            let mut response = render(&shared, &message_of(&refusal));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        },
        |_| redirect("/"),
    )
}
