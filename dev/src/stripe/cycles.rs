//! Invoices of billing periods and their lines.

use serde_json::{Value, json};

use super::{
    catalog::{amount_of, is_metered},
    discounts,
    invoices::{self, NewInvoice},
    lines::{self, Line},
    meters, periods,
    state::{State, int, text},
    subscriptions::{items, period_start},
};

/// Drafts the invoice of the running period.
pub(super) fn cycle_invoice(state: &mut State, id: &str, reason: &str, free: bool) -> String {
    let subscription = state.read(id);
    let customer = text(&subscription, "customer").to_owned();
    let now = state.now();
    let first = reason == "subscription_create";
    let mut new_lines = lines::take_waiting(state, &customer, Some(id));
    for item in items(&subscription) {
        if !is_metered(&item["price"]) {
            new_lines.push(period_line(state, id, item, free));
        } else if !first && !free {
            // The usage of the period that has ended.
            let start = int(item, "current_period_start");
            let from = state.hidden(id)["metered_from"].as_i64().unwrap_or(start);
            new_lines.push(usage_line(state, &subscription, item, (from, start)));
        }
    }
    let start = if first {
        now
    } else {
        last_period_start(&subscription)
    };
    let discounts = if free {
        Vec::new()
    } else {
        discounts::running(state, &subscription)
    };
    invoices::draft(
        state,
        &NewInvoice {
            customer: &customer,
            subscription: Some(id),
            reason,
            currency: text(&subscription, "currency"),
            period: (start, now),
            lines: new_lines,
            discounts,
            finalizes_at: (!first).then_some(now + 3600),
            metadata: json!({}),
        },
    )
}

/// Drafts the invoice of the usage of a period that a cancellation has ended.
pub(super) fn last_usage_invoice(state: &mut State, id: &str) {
    let now = state.now();
    let subscription = state.read(id);
    let usage: Vec<Line> = items(&subscription)
        .iter()
        .filter(|item| is_metered(&item["price"]))
        .map(|item| {
            usage_line(
                state,
                &subscription,
                item,
                (int(item, "current_period_start"), now),
            )
        })
        .collect();
    if usage.is_empty() {
        return;
    }
    invoices::draft(
        state,
        &NewInvoice {
            customer: text(&subscription, "customer"),
            subscription: Some(id),
            reason: "subscription_cycle",
            currency: text(&subscription, "currency"),
            period: (period_start(&subscription), now),
            lines: usage,
            discounts: Vec::new(),
            finalizes_at: Some(now + 3600),
            metadata: json!({}),
        },
    );
}

fn last_period_start(subscription: &Value) -> i64 {
    let first = items(subscription)
        .first()
        .map_or(&Value::Null, |item| &item["price"]);
    let recurring = &first["recurring"];
    let start = period_start(subscription);
    let next = periods::add(
        start,
        start,
        text(recurring, "interval"),
        int(recurring, "interval_count"),
    );
    (start - (next - start)).max(int(subscription, "start_date"))
}

fn period_line(state: &State, subscription: &str, item: &Value, free: bool) -> Line {
    let price = &item["price"];
    let name = product_name(state, price);
    let quantity = item["quantity"].as_i64().unwrap_or(1);
    let description = if free {
        format!("Free trial for {quantity} × {name}")
    } else {
        let unit = money(int(price, "unit_amount"));
        format!(
            "{quantity} × {name} (at {unit} / {})",
            text(&price["recurring"], "interval")
        )
    };
    Line {
        price: price.clone(),
        subscription: Some(subscription.into()),
        item: Some(text(item, "id").into()),
        invoice_item: None,
        discounts: Vec::new(),
        quantity,
        amount: if free { 0 } else { amount_of(price, quantity) },
        currency: text(price, "currency").into(),
        period: (
            int(item, "current_period_start"),
            int(item, "current_period_end"),
        ),
        proration: false,
        description,
    }
}

fn usage_line(state: &State, subscription: &Value, item: &Value, period: (i64, i64)) -> Line {
    let price = &item["price"];
    let meter = text(&price["recurring"], "meter");
    let quantity = meters::total(state, meter, text(subscription, "customer"), period);
    Line {
        price: price.clone(),
        subscription: Some(text(subscription, "id").into()),
        item: Some(text(item, "id").into()),
        invoice_item: None,
        discounts: Vec::new(),
        quantity,
        amount: amount_of(price, quantity),
        currency: text(price, "currency").into(),
        period,
        proration: false,
        description: format!("{quantity} × {}", product_name(state, price)),
    }
}

fn product_name(state: &State, price: &Value) -> String {
    text(&state.read(text(price, "product")), "name").to_owned()
}

/// An amount with two decimals, for descriptions.
pub(super) fn money(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, (amount % 100).abs())
}
