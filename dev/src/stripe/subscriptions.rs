//! Life of a subscription: begun, paid, past due, ended.

use serde_json::{Value, json};

use super::{
    catalog::{is_metered, plan_of},
    cycles,
    discounts::{self, Reduction},
    error::{Result, StripeError},
    invoices, periods,
    state::{AfterRetries, State, int, sublist, text},
};

/// A subscription to be begun.
pub(super) struct NewSubscription {
    pub(super) customer: String,
    /// Price ids and quantities.
    pub(super) items: Vec<(String, i64)>,
    pub(super) metadata: Value,
    pub(super) trial_end: Option<i64>,
    pub(super) missing_payment_method: &'static str,
    pub(super) default_payment_method: Option<String>,
    pub(super) reductions: Vec<Reduction>,
    pub(super) description: Option<String>,
    pub(super) automatic_tax: bool,
    pub(super) session: Option<String>,
    pub(super) cancel_at: Option<i64>,
    pub(super) cancel_at_period_end: bool,
}

pub(super) fn items(subscription: &Value) -> &[Value] {
    subscription["items"]["data"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// The end of the running period: the earliest among the items.
pub(super) fn period_end(subscription: &Value) -> i64 {
    items(subscription)
        .iter()
        .map(|item| int(item, "current_period_end"))
        .min()
        .unwrap_or(0)
}

pub(super) fn period_start(subscription: &Value) -> i64 {
    items(subscription)
        .iter()
        .map(|item| int(item, "current_period_start"))
        .min()
        .unwrap_or(0)
}

pub(super) fn is_over(subscription: &Value) -> bool {
    matches!(
        text(subscription, "status"),
        "canceled" | "incomplete_expired"
    )
}

/// Makes an item; the caller puts it into its subscription.
pub(super) fn item_value(
    state: &mut State,
    subscription: &str,
    price: &str,
    quantity: i64,
    period: (i64, i64),
) -> Value {
    let id = state.id("si");
    let price = state.read(price);
    let mut item = json!({
        "id": id, "object": "subscription_item", "billing_thresholds": null,
        "created": state.now(), "current_period_end": period.1, "current_period_start": period.0,
        "current_trial": null, "discounts": [], "metadata": {}, "plan": plan_of(&price), "price": price,
        "subscription": subscription, "tax_rates": [],
    });
    if !is_metered(&item["price"]) {
        item["quantity"] = json!(quantity);
    }
    item
}

/// Begins a subscription with its first invoice, open and not yet charged.
pub(super) fn begin(state: &mut State, new: &NewSubscription) -> String {
    let id = state.id("sub");
    let now = state.now();
    let first = state.read(&new.items[0].0);
    let anchor = new.trial_end.unwrap_or(now);
    let recurring = &first["recurring"];
    let end = new.trial_end.unwrap_or_else(|| {
        periods::add(
            now,
            now,
            text(recurring, "interval"),
            int(recurring, "interval_count"),
        )
    });
    let mut data = Vec::new();
    for (price, quantity) in &new.items {
        data.push(item_value(state, &id, price, *quantity, (now, end)));
    }
    let on_trial = new.trial_end.is_some();
    let plan = if data.len() == 1 {
        data[0]["plan"].clone()
    } else {
        Value::Null
    };
    let quantity = if data.len() == 1 {
        data[0]["quantity"].clone()
    } else {
        Value::Null
    };
    let cancel_at = new.cancel_at.or(new.cancel_at_period_end.then_some(end));
    let subscription = json!({
        "id": id, "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": {
            "disabled_reason": null, "enabled": new.automatic_tax,
            "liability": new.automatic_tax.then(|| json!({ "type": "self" })),
        },
        "billing_cycle_anchor": anchor, "billing_cycle_anchor_config": null,
        "billing_mode": { "flexible": { "proration_discounts": "included" }, "type": "flexible", "updated_at": now },
        "billing_schedules": [], "billing_thresholds": null, "cancel_at": cancel_at,
        "cancel_at_period_end": new.cancel_at_period_end, "canceled_at": cancel_at.map(|_| now),
        "cancellation_details": no_cancellation(), "collection_method": "charge_automatically", "created": now,
        "currency": first["currency"], "customer": new.customer, "customer_account": null, "days_until_due": null,
        "default_payment_method": new.default_payment_method, "default_source": null, "default_tax_rates": [],
        "description": new.description, "discounts": [], "ended_at": null,
        "invoice_settings": {
            "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null,
            "issuer": { "type": "self" },
        },
        "items": sublist(&data, &format!("/v1/subscription_items?subscription={id}")), "latest_invoice": null,
        "livemode": state.livemode, "managed_payments": null, "metadata": new.metadata,
        "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null, "plan": plan,
        "quantity": quantity, "schedule": null, "start_date": now,
        "status": if on_trial { "trialing" } else { "incomplete" }, "test_clock": null, "transfer_data": null,
        "trial_end": new.trial_end,
        "trial_settings": { "end_behavior": {
            "billing_cycle_anchor": null, "missing_payment_method": new.missing_payment_method,
        } },
        "trial_start": on_trial.then_some(now),
    });
    state.insert(subscription);
    state.edit(&new.customer, |customer| {
        if customer["currency"].is_null() {
            customer["currency"] = first["currency"].clone();
        }
    });
    let made: Vec<String> = new
        .reductions
        .iter()
        .map(|reduction| {
            discounts::apply(
                state,
                reduction,
                &new.customer,
                Some(&id),
                new.session.as_deref(),
            )
        })
        .collect();
    state.edit(&id, |subscription| subscription["discounts"] = json!(made));
    state.emit("customer.subscription.created", &id);
    let invoice = cycles::cycle_invoice(state, &id, "subscription_create", on_trial);
    invoices::finalize(state, &invoice);
    id
}

pub(super) fn no_cancellation() -> Value {
    json!({ "comment": null, "feedback": null, "feedback_option": null, "reason": null })
}

/// Activates the subscription of an invoice that is paid.
pub(super) fn invoice_paid(state: &mut State, invoice: &str) {
    let Some(id) = subscription_of(state, invoice) else {
        return;
    };
    let status = text(&state.read(&id), "status").to_owned();
    if !matches!(status.as_str(), "incomplete" | "past_due" | "unpaid") {
        return;
    }
    let owes = state.all("invoice").any(|other| {
        other["status"] == "open"
            && other["parent"]["subscription_details"]["subscription"] == id.as_str()
    });
    if status == "incomplete" || !owes {
        state.update(&id, "customer.subscription.updated", |subscription| {
            subscription["status"] = json!("active");
        });
    }
}

/// Makes the subscription of an invoice that could not be charged past due, or ends it.
pub(super) fn invoice_failed(state: &mut State, invoice: &str) {
    let Some(id) = subscription_of(state, invoice) else {
        return;
    };
    let invoice = state.read(invoice);
    let status = text(&state.read(&id), "status").to_owned();
    if status == "incomplete" || invoice["billing_reason"] == "subscription_create" {
        return;
    }
    let last = invoice["next_payment_attempt"].is_null();
    if status == "past_due" && last {
        match state.after_retries {
            AfterRetries::Cancel => end(state, &id, "payment_failed"),
            AfterRetries::Unpaid => state.update(&id, "customer.subscription.updated", |value| {
                value["status"] = json!("unpaid");
            }),
        }
    } else if matches!(status.as_str(), "active" | "trialing") {
        state.update(&id, "customer.subscription.updated", |value| {
            value["status"] = json!("past_due");
        });
    }
}

pub(super) fn subscription_of(state: &State, invoice: &str) -> Option<String> {
    let invoice = state.get(invoice)?;
    invoice["parent"]["subscription_details"]["subscription"]
        .as_str()
        .map(Into::into)
}

/// Ends a subscription now.
pub(super) fn end(state: &mut State, id: &str, reason: &str) {
    let now = state.now();
    let subscription = state.read(id);
    if is_over(&subscription) {
        return;
    }
    let incomplete = subscription["status"] == "incomplete" && reason == "expired";
    state.edit(id, |subscription| {
        subscription["status"] = json!(if incomplete {
            "incomplete_expired"
        } else {
            "canceled"
        });
        subscription["ended_at"] = json!(now);
        if subscription["cancel_at"]
            .as_i64()
            .is_some_and(|at| at > now)
        {
            subscription["cancel_at"] = Value::Null;
            subscription["cancel_at_period_end"] = json!(false);
        }
        if subscription["canceled_at"].is_null() {
            subscription["canceled_at"] = json!(now);
        }
        if subscription["cancellation_details"]["reason"].is_null() && !incomplete {
            subscription["cancellation_details"]["reason"] = json!(reason);
        }
    });
    if incomplete {
        for invoice in open_invoices(state, id) {
            invoices::void(state, &invoice);
        }
        state.emit_change(
            "customer.subscription.updated",
            id,
            serde_json::Map::from_iter([("status".into(), json!("incomplete"))]),
        );
        return;
    }
    for invoice in open_invoices(state, id) {
        state.edit(&invoice, |invoice| {
            invoice["auto_advance"] = json!(false);
            invoice["automatically_finalizes_at"] = Value::Null;
            invoice["next_payment_attempt"] = Value::Null;
        });
    }
    state.emit("customer.subscription.deleted", id);
}

pub(super) fn open_invoices(state: &State, subscription: &str) -> Vec<String> {
    state.ids_where("invoice", |invoice| {
        matches!(text(invoice, "status"), "open" | "draft")
            && invoice["parent"]["subscription_details"]["subscription"] == subscription
    })
}

/// Refuses a subscription that is over.
pub(super) fn living<'a>(state: &'a State, id: &str) -> Result<&'a Value> {
    let subscription = state.find("subscription", id, "id")?;
    if is_over(subscription) {
        return Err(StripeError::missing("subscription", id, "id"));
    }
    Ok(subscription)
}
