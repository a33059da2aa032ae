//! What a customer does on the portal's pages.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    catalog,
    error::{Result, StripeError},
    invoices, methods, proration,
    proration::Proration,
    state::{State, text},
    subscription_calls::{ItemChange, emit_difference, set_cancellation},
    subscriptions::{self, is_over, items, period_end},
};

/// An act of a customer on the portal's pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortalAct {
    /// Ends the subscription at the end of its period.
    Cancel,
    /// Takes the cancellation back.
    Resume,
    /// Changes the first item's price.
    ChangePrice(String),
    /// Puts a card in place of the default one: a test card such as `pm_card_visa`.
    NewCard(String),
}

/// Performs an act for a customer; returns the subscription or the customer.
pub(super) fn act(state: &mut State, customer: &str, act: &PortalAct) -> Result {
    super::customers::living(state, customer, "customer")?;
    if let PortalAct::NewCard(token) = act {
        return new_card(state, customer, token);
    }
    let Some(id) = subscription_of(state, customer) else {
        return Err(StripeError::invalid("This customer has no subscription."));
    };
    let before = state.read(&id);
    let now = state.now();
    let mut invoice = None;
    match act {
        PortalAct::Cancel => {
            let mode = configuration(state)["features"]["subscription_cancel"]["mode"].clone();
            if mode == "immediately" {
                subscriptions::end(state, &id, "cancellation_requested");
                return Ok(state.read(&id));
            }
            let end = period_end(&before);
            state.edit(&id, |value| set_cancellation(value, Some(end), now));
        }
        PortalAct::Resume => {
            state.edit(&id, |value| {
                value["cancel_at_period_end"] = json!(false);
                set_cancellation(value, None, now);
            });
        }
        PortalAct::ChangePrice(price) => {
            catalog::for_sale(state, price, "price")?;
            let change = ItemChange {
                item: items(&before)
                    .first()
                    .and_then(|item| item["id"].as_str())
                    .map(Into::into),
                price: Some(price.clone()),
                quantity: None,
                deleted: false,
            };
            let word =
                configuration(state)["features"]["subscription_update"]["proration_behavior"]
                    .clone();
            let behavior = match word.as_str() {
                Some("none") => Proration::None,
                Some("always_invoice") => Proration::Invoice,
                _ => Proration::Create,
            };
            invoice = proration::change_items(state, &id, &[change], behavior);
        }
        PortalAct::NewCard(_) => {}
    }
    emit_difference(state, &id, before);
    if let Some(invoice) = invoice {
        let _ = invoices::collect(state, &invoice, None);
    }
    Ok(state.read(&id))
}

fn configuration(state: &State) -> Value {
    super::portal::default_configuration(state).map_or(Value::Null, |id| state.read(&id))
}

/// The customer's subscription that is not over; the newest.
pub(super) fn subscription_of(state: &State, customer: &str) -> Option<String> {
    state
        .all("subscription")
        .rfind(|value| value["customer"] == customer && !is_over(value))
        .map(|value| text(value, "id").to_owned())
}

fn new_card(state: &mut State, customer: &str, token: &str) -> Result {
    let method = methods::attach_to(state, token, customer)?;
    state.update(customer, "customer.updated", |value| {
        value["invoice_settings"]["default_payment_method"] = json!(method);
    });
    for id in state.ids_where("subscription", |value| {
        value["customer"] == customer && !is_over(value)
    }) {
        if state.read(&id)["default_payment_method"].is_string() {
            state.update(&id, "customer.subscription.updated", |value| {
                value["default_payment_method"] = json!(method);
            });
        }
        if state.read(&id)["status"] == "paused" {
            super::renewals::resume(state, &id);
        }
    }
    Ok(state.read(customer))
}
