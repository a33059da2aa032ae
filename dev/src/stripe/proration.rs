//! Changes of price and quantity in the middle of a period.

use serde_json::{Value, json};

use super::{
    catalog::{amount_of, is_metered, plan_of},
    error::Result,
    form::Params,
    invoices::{self, NewInvoice},
    lines::{self, Line},
    periods,
    state::{State, int, text},
    subscription_calls::ItemChange,
    subscriptions::{item_value, items},
};

/// What a change in the middle of a period charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proration {
    /// The difference goes on the next invoice.
    Create,
    /// Nothing.
    None,
    /// The difference is invoiced at once.
    Invoice,
}

impl Proration {
    pub(super) fn read(params: &Params) -> Result<Self> {
        let word = params.choice(
            "proration_behavior",
            &["create_prorations", "none", "always_invoice"],
        )?;
        Ok(match word {
            Some("none") => Self::None,
            Some("always_invoice") => Self::Invoice,
            _ => Self::Create,
        })
    }
}

/// Changes the items; returns the open invoice that must be collected, if one was made.
pub(super) fn change_items(
    state: &mut State,
    id: &str,
    changes: &[ItemChange],
    behavior: Proration,
) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let now = state.now();
    let before = state.read(id);
    let mut data = items(&before).to_vec();
    let mut prorated = Vec::new();
    let mut new_interval = false;
    for change in changes {
        let Some(place) = data
            .iter()
            .position(|item| change.item.as_deref() == item["id"].as_str())
        else {
            let Some(price) = &change.price else { continue };
            let period = data
                .first()
                .map_or((now, now), |item| (now, int(item, "current_period_end")));
            let item = item_value(state, id, price, change.quantity.unwrap_or(1), period);
            prorated.extend(line(state, id, &item, now, false));
            data.push(item);
            continue;
        };
        let old = data[place].clone();
        if change.deleted {
            prorated.extend(line(state, id, &old, now, true));
            data.remove(place);
            continue;
        }
        let mut item = old.clone();
        if let Some(price) = &change.price {
            let price = state.read(price);
            item["plan"] = plan_of(&price);
            item["price"] = price;
        }
        if let Some(quantity) = change.quantity {
            item["quantity"] = json!(quantity);
        }
        if item == old {
            continue;
        }
        prorated.extend(line(state, id, &old, now, true));
        let (was, is) = (
            &old["price"]["recurring"],
            item["price"]["recurring"].clone(),
        );
        if (&was["interval"], &was["interval_count"]) != (&is["interval"], &is["interval_count"])
            && before["status"] != "trialing"
        {
            new_interval = true;
            item["current_period_start"] = json!(now);
            item["current_period_end"] = json!(periods::add(
                now,
                now,
                text(&is, "interval"),
                int(&is, "interval_count")
            ));
        }
        prorated.extend(line(state, id, &item, now, false));
        data[place] = item;
    }
    state.edit(id, |subscription| {
        subscription["items"]["total_count"] = json!(data.len());
        let single = (data.len() == 1).then(|| &data[0]);
        subscription["plan"] = single.map_or(Value::Null, |item| item["plan"].clone());
        subscription["quantity"] = single.map_or(Value::Null, |item| item["quantity"].clone());
        subscription["items"]["data"] = json!(data);
        if new_interval {
            subscription["billing_cycle_anchor"] = json!(now);
        }
    });
    let free = before["status"] == "trialing" || (behavior == Proration::None && !new_interval);
    if free || before["status"] == "incomplete" || before["status"] == "paused" {
        return None;
    }
    let customer = text(&before, "customer").to_owned();
    for line in &prorated {
        line.wait(state, &customer);
    }
    if behavior == Proration::Invoice || new_interval {
        return invoice_waiting(state, id);
    }
    None
}

/// The credit or charge for the rest of the period of an item.
fn line(state: &State, subscription: &str, item: &Value, now: i64, credit: bool) -> Option<Line> {
    let price = &item["price"];
    if is_metered(price) {
        return None;
    }
    let (start, end) = (
        int(item, "current_period_start"),
        int(item, "current_period_end"),
    );
    let quantity = item["quantity"].as_i64().unwrap_or(1);
    let whole = amount_of(price, quantity);
    let length = (end - start).max(1);
    let rest = (end - now).clamp(0, length);
    let share = (whole * rest * 2 + length).div_euclid(length * 2);
    let product = state.read(text(price, "product"));
    let name = text(&product, "name");
    Some(Line {
        price: price.clone(),
        subscription: Some(subscription.into()),
        item: Some(text(item, "id").into()),
        invoice_item: None,
        discounts: Vec::new(),
        quantity,
        amount: if credit { -share } else { share },
        currency: text(price, "currency").into(),
        period: (now, end),
        proration: true,
        description: if credit {
            format!("Unused time on {quantity} × {name}")
        } else {
            format!("Remaining time on {quantity} × {name}")
        },
    })
}

/// Credits the rest of the period of every item.
pub(super) fn credit_rest(state: &mut State, id: &str) {
    let now = state.now();
    let subscription = state.read(id);
    for item in items(&subscription) {
        if let Some(line) = line(state, id, item, now, true) {
            line.wait(state, text(&subscription, "customer"));
        }
    }
}

/// Invoices what waits for the next invoice of a subscription; the open invoice.
pub(super) fn invoice_waiting(state: &mut State, id: &str) -> Option<String> {
    let subscription = state.read(id);
    let customer = text(&subscription, "customer").to_owned();
    let waiting = lines::take_waiting(state, &customer, Some(id));
    if waiting.is_empty() {
        return None;
    }
    let now = state.now();
    let invoice = invoices::draft(
        state,
        &NewInvoice {
            customer: &customer,
            subscription: Some(id),
            reason: "subscription_update",
            currency: text(&subscription, "currency"),
            period: (now, now),
            lines: waiting,
            discounts: Vec::new(),
            finalizes_at: None,
            metadata: json!({}),
        },
    );
    invoices::finalize(state, &invoice);
    (state.read(&invoice)["status"] == "open").then_some(invoice)
}
