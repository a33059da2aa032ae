//! API calls on subscriptions and their items.

use serde_json::{Value, json};

use super::{
    catalog, customers, discounts,
    error::{Result, StripeError},
    form::Params,
    invoices,
    list::{self, PAGING, field_is},
    methods, proration,
    proration::Proration,
    state::{State, text},
    subscriptions::{self, NewSubscription, items, living, period_end},
};

const CREATE: &str = "customer items[].price items[].plan items[].quantity items[].metadata.* metadata.* trial_period_days trial_end \
    default_payment_method payment_behavior payment_settings.* trial_settings.end_behavior.missing_payment_method \
    cancel_at_period_end cancel_at collection_method discounts[].coupon discounts[].promotion_code description off_session \
    automatic_tax.enabled proration_behavior billing_cycle_anchor currency days_until_due billing_mode.*";

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow(CREATE)?;
    let customer = params.required("customer")?.to_owned();
    customers::living(state, &customer, "customer")?;
    let mut wanted = Vec::new();
    for item in params.list("items") {
        wanted.push(read_item(state, &item)?);
    }
    if wanted.is_empty() {
        return Err(StripeError::parameter_missing("items"));
    }
    let now = state.now();
    let trial_end = match params.int("trial_period_days")? {
        Some(days) if days > 0 => Some(now + days * 86_400),
        _ if params.text("trial_end") == Some("now") => None,
        _ => params.int("trial_end")?.filter(|end| *end > now),
    };
    let method = match params.filled("default_payment_method") {
        Some(method) => Some(methods::resolve(
            state,
            method,
            Some(&customer),
            "default_payment_method",
        )?),
        None => None,
    };
    let behavior = params
        .choice(
            "payment_behavior",
            &[
                "allow_incomplete",
                "default_incomplete",
                "error_if_incomplete",
                "pending_if_incomplete",
            ],
        )?
        .unwrap_or("allow_incomplete");
    let chargeable = method.is_some()
        || state.read(&customer)["invoice_settings"]["default_payment_method"].is_string();
    if !chargeable
        && trial_end.is_none()
        && behavior != "default_incomplete"
        && costs(state, &wanted)
    {
        return Err(invoices::no_method());
    }
    let missing = params
        .choice(
            "trial_settings.end_behavior.missing_payment_method",
            &["create_invoice", "cancel", "pause"],
        )?
        .unwrap_or("create_invoice");
    let new = NewSubscription {
        customer,
        items: wanted,
        metadata: params.metadata("metadata"),
        trial_end,
        missing_payment_method: missing,
        default_payment_method: method,
        reductions: discounts::read(state, params)?,
        description: params.filled("description").map(Into::into),
        automatic_tax: params.flag("automatic_tax.enabled")?.unwrap_or(false),
        session: None,
        cancel_at: params.int("cancel_at")?,
        cancel_at_period_end: params.flag("cancel_at_period_end")?.unwrap_or(false),
    };
    let id = subscriptions::begin(state, &new);
    let invoice = text(&state.read(&id), "latest_invoice").to_owned();
    if behavior != "default_incomplete" && state.read(&invoice)["status"] == "open" {
        // Declined or waiting for authentication: the subscription stays incomplete.
        let _ = invoices::collect(state, &invoice, None);
    }
    Ok(state.read(&id))
}

fn costs(state: &State, wanted: &[(String, i64)]) -> bool {
    wanted.iter().any(|(price, quantity)| {
        let price = state.read(price);
        !catalog::is_metered(&price) && catalog::amount_of(&price, *quantity) > 0
    })
}

pub(super) fn read_item(state: &State, item: &Params) -> Result<(String, i64)> {
    let field = if item.has("plan") { "plan" } else { "price" };
    let price = item.required(field)?;
    catalog::for_sale(state, price, &item.name(field))?;
    if state.read(price)["recurring"].is_null() {
        return Err(StripeError::invalid(format!(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`: {price}"
        ))
        .param(item.name(field)));
    }
    Ok((price.into(), quantity(item)?.unwrap_or(1)))
}

pub(super) fn quantity(params: &Params) -> Result<Option<i64>> {
    let quantity = params.int("quantity")?;
    if quantity.is_some_and(|quantity| quantity < 0) {
        return Err(StripeError::invalid("Invalid non-negative integer")
            .code("parameter_invalid_integer")
            .param(params.name("quantity")));
    }
    Ok(quantity)
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("subscription", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("customer status price collection_method current_period_end.* current_period_start.* test_clock automatic_tax.enabled{PAGING}"))?;
    if let Some(customer) = params.filled("customer") {
        state.find("customer", customer, "customer")?;
    }
    list::page(
        state,
        params,
        "subscription",
        "/v1/subscriptions",
        |value| {
            let status = text(value, "status");
            let fits = match params.filled("status") {
                None => status != "canceled" && status != "incomplete_expired",
                Some("all") => true,
                Some("ended") => matches!(status, "canceled" | "incomplete_expired"),
                Some(wanted) => status == wanted,
            };
            let priced = params
                .filled("price")
                .is_none_or(|price| items(value).iter().any(|item| item["price"]["id"] == price));
            fits && priced && field_is(params, value, "customer")
        },
    )
}

const UPDATE: &str = "items[].id items[].price items[].plan items[].quantity items[].deleted items[].metadata.* metadata.* \
    cancel_at_period_end cancel_at default_payment_method proration_behavior proration_date trial_end pause_collection.behavior \
    pause_collection.resumes_at description discounts[].coupon discounts[].promotion_code payment_behavior \
    cancellation_details.comment cancellation_details.feedback trial_settings.end_behavior.missing_payment_method \
    automatic_tax.enabled billing_cycle_anchor collection_method days_until_due off_session payment_settings.*";

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(UPDATE)?;
    let subscription = living(state, id)?.clone();
    let behavior = Proration::read(params)?;
    let mut changes = Vec::new();
    for item in params.list("items") {
        changes.push(read_change(state, &subscription, &item)?);
    }
    let customer = text(&subscription, "customer").to_owned();
    let method = match params.text("default_payment_method") {
        Some("") => Some(Value::Null),
        Some(method) => Some(json!(methods::resolve(
            state,
            method,
            Some(&customer),
            "default_payment_method"
        )?)),
        None => None,
    };
    let at_period_end = params.flag("cancel_at_period_end")?;
    let cancel_at = params.int("cancel_at")?.map(|at| at.max(state.now()));
    let reductions = discounts::read(state, params)?;
    let pause_until = params.int("pause_collection.resumes_at")?;
    let trial_ends = params.text("trial_end") == Some("now");
    let trial_end = if trial_ends {
        None
    } else {
        params.int("trial_end")?
    };
    let now = state.now();
    let made: Vec<String> = reductions
        .iter()
        .map(|reduction| discounts::apply(state, reduction, &customer, Some(id), None))
        .collect();
    let before = state.read(id);
    let on_trial = before["status"] == "trialing";
    let invoice = proration::change_items(state, id, &changes, behavior);
    state.edit(id, |value| {
        if let Some(method) = method {
            value["default_payment_method"] = method;
        }
        if let Some(flag) = at_period_end {
            let end = period_end(value);
            value["cancel_at_period_end"] = json!(flag);
            set_cancellation(value, flag.then_some(end), now);
        }
        if params.text("cancel_at") == Some("") {
            value["cancel_at_period_end"] = json!(false);
            set_cancellation(value, None, now);
        } else if let Some(at) = cancel_at {
            value["cancel_at_period_end"] = json!(false);
            set_cancellation(value, Some(at), now);
        }
        if params.has("discounts") {
            value["discounts"] = json!(made);
        }
        if params.text("pause_collection") == Some("") {
            value["pause_collection"] = Value::Null;
        } else if let Some(behavior) = params.filled("pause_collection.behavior") {
            value["pause_collection"] = json!({ "behavior": behavior, "resumes_at": pause_until });
        }
        customers::set_text(params, value, "description", "description");
        for field in ["comment", "feedback"] {
            if let Some(said) = params.filled(&format!("cancellation_details.{field}")) {
                value["cancellation_details"][field] = json!(said);
            }
        }
        if let Some(missing) = params.filled("trial_settings.end_behavior.missing_payment_method") {
            value["trial_settings"]["end_behavior"]["missing_payment_method"] = json!(missing);
        }
        params.merge_metadata("metadata", &mut value["metadata"]);
        if let Some(end) = trial_end {
            value["trial_end"] = json!(end);
            value["status"] = json!("trialing");
            for item in value["items"]["data"].as_array_mut().into_iter().flatten() {
                item["current_period_end"] = json!(end);
            }
        }
    });
    emit_difference(state, id, before);
    if trial_ends && on_trial {
        super::renewals::end_trial(state, id);
    }
    if let Some(invoice) = invoice {
        let _ = invoices::collect(state, &invoice, None);
    }
    Ok(state.read(id))
}

/// Emits one event for all that changed since a copy was taken.
pub(super) fn emit_difference(state: &mut State, id: &str, before: Value) {
    let after = state.read(id);
    state.edit(id, |value| *value = before);
    state.update(id, "customer.subscription.updated", |value| *value = after);
}

pub(super) fn set_cancellation(subscription: &mut Value, at: Option<i64>, now: i64) {
    subscription["cancel_at"] = json!(at);
    subscription["canceled_at"] = json!(at.map(|_| now));
    subscription["cancellation_details"]["reason"] = json!(at.map(|_| "cancellation_requested"));
}

/// A change of one item: its id, or none for a new one.
#[derive(Debug)]
pub(super) struct ItemChange {
    pub(super) item: Option<String>,
    pub(super) price: Option<String>,
    pub(super) quantity: Option<i64>,
    pub(super) deleted: bool,
}

fn read_change(state: &State, subscription: &Value, params: &Params) -> Result<ItemChange> {
    let item = params.filled("id").map(str::to_owned);
    if let Some(id) = &item
        && !items(subscription)
            .iter()
            .any(|item| item["id"] == id.as_str())
    {
        return Err(StripeError::missing(
            "subscription_item",
            id,
            &params.name("id"),
        ));
    }
    let price = if item.is_none() || params.has("price") || params.has("plan") {
        Some(read_item(state, params)?.0)
    } else {
        None
    };
    Ok(ItemChange {
        item,
        price,
        quantity: quantity(params)?,
        deleted: params.flag("deleted")?.unwrap_or(false),
    })
}

pub(super) fn cancel(state: &mut State, params: &Params, id: &str) -> Result {
    params
        .allow("invoice_now prorate cancellation_details.comment cancellation_details.feedback")?;
    living(state, id)?;
    let invoice_now = params.flag("invoice_now")?.unwrap_or(false);
    let prorate = params.flag("prorate")?.unwrap_or(false);
    state.edit(id, |value| {
        for field in ["comment", "feedback"] {
            if let Some(said) = params.filled(&format!("cancellation_details.{field}")) {
                value["cancellation_details"][field] = json!(said);
            }
        }
    });
    if prorate {
        proration::credit_rest(state, id);
    }
    if invoice_now {
        proration::invoice_waiting(state, id);
    }
    subscriptions::end(state, id, "cancellation_requested");
    Ok(state.read(id))
}

/// Resumes a paused subscription.
pub(super) fn resume(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("billing_cycle_anchor proration_behavior payment_behavior")?;
    if living(state, id)?["status"] != "paused" {
        return Err(StripeError::invalid("The subscription is not paused."));
    }
    super::renewals::resume(state, id);
    Ok(state.read(id))
}
