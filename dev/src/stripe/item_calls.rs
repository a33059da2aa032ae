//! API calls on the items of subscriptions.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    invoices,
    list::PAGING,
    proration::{self, Proration},
    state::{State, text},
    subscription_calls::{ItemChange, emit_difference, quantity, read_item},
    subscriptions::{items, living},
};

pub(super) fn get_item(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    owner_of_item(state, id).map(|(_, item)| item)
}

fn owner_of_item(state: &State, id: &str) -> Result<(String, Value)> {
    state
        .all("subscription")
        .find_map(|subscription| {
            let item = items(subscription).iter().find(|item| item["id"] == id)?;
            Some((text(subscription, "id").to_owned(), item.clone()))
        })
        .ok_or_else(|| StripeError::missing("subscription_item", id, "id"))
}

pub(super) fn update_item(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(ITEM)?;
    let (subscription, _) = owner_of_item(state, id)?;
    let price = if params.has("price") || params.has("plan") {
        Some(read_item(state, params)?.0)
    } else {
        None
    };
    let change = ItemChange {
        item: Some(id.into()),
        price,
        quantity: quantity(params)?,
        deleted: false,
    };
    change_item(state, params, &subscription, change)?;
    owner_of_item(state, id).map(|(_, item)| item)
}

pub(super) fn create_item(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("subscription {ITEM}"))?;
    let subscription = params.required("subscription")?.to_owned();
    living(state, &subscription)?;
    let (price, quantity) = read_item(state, params)?;
    let change = ItemChange {
        item: None,
        price: Some(price),
        quantity: Some(quantity),
        deleted: false,
    };
    change_item(state, params, &subscription, change)?;
    let subscription = state.read(&subscription);
    Ok(items(&subscription).last().cloned().unwrap_or_default())
}

pub(super) fn delete_item(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("proration_behavior proration_date clear_usage")?;
    let (subscription, _) = owner_of_item(state, id)?;
    if items(&state.read(&subscription)).len() == 1 {
        return Err(StripeError::invalid(
            "A subscription must have at least one active plan. To cancel a subscription, please use the cancel API endpoint on /v1/subscriptions.",
        ));
    }
    let change = ItemChange {
        item: Some(id.into()),
        price: None,
        quantity: None,
        deleted: true,
    };
    change_item(state, params, &subscription, change)?;
    Ok(json!({ "id": id, "object": "subscription_item", "deleted": true }))
}

const ITEM: &str =
    "price plan quantity proration_behavior proration_date payment_behavior metadata.* off_session";

fn change_item(
    state: &mut State,
    params: &Params,
    subscription: &str,
    change: ItemChange,
) -> Result<()> {
    let behavior = Proration::read(params)?;
    let before = state.read(subscription);
    let invoice = proration::change_items(state, subscription, &[change], behavior);
    emit_difference(state, subscription, before);
    if let Some(invoice) = invoice {
        let _ = invoices::collect(state, &invoice, None);
    }
    Ok(())
}

pub(super) fn list_items(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("subscription{PAGING}"))?;
    let subscription = state.find(
        "subscription",
        params.required("subscription")?,
        "subscription",
    )?;
    let data = items(subscription);
    Ok(
        json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/subscription_items" }),
    )
}
