//! Payment methods: Stripe's test cards.

use serde_json::{Value, json};

use super::{
    customers,
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    state::State,
};

/// What charges on a card do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Pays,
    /// Refused as soon as it is attached.
    Declines,
    /// Can be attached, and every charge fails.
    Fails,
    NeedsAuthentication,
}

struct Card {
    token: &'static str,
    brand: &'static str,
    last4: &'static str,
    behaviour: Behaviour,
}

const CARDS: &[Card] = &[
    Card {
        token: "pm_card_visa",
        brand: "visa",
        last4: "4242",
        behaviour: Behaviour::Pays,
    },
    Card {
        token: "pm_card_mastercard",
        brand: "mastercard",
        last4: "4444",
        behaviour: Behaviour::Pays,
    },
    Card {
        token: "pm_card_chargeDeclined",
        brand: "visa",
        last4: "0002",
        behaviour: Behaviour::Declines,
    },
    Card {
        token: "pm_card_visa_chargeDeclined",
        brand: "visa",
        last4: "0002",
        behaviour: Behaviour::Declines,
    },
    Card {
        token: "pm_card_chargeCustomerFail",
        brand: "visa",
        last4: "0341",
        behaviour: Behaviour::Fails,
    },
    Card {
        token: "pm_card_authenticationRequired",
        brand: "visa",
        last4: "3184",
        behaviour: Behaviour::NeedsAuthentication,
    },
    Card {
        token: "pm_card_authenticationRequiredOnSetup",
        brand: "visa",
        last4: "3155",
        behaviour: Behaviour::Pays,
    },
];

fn card(token: &str) -> Option<&'static Card> {
    CARDS.iter().find(|card| card.token == token)
}

/// What charges on a stored payment method do.
pub(super) fn behaviour(state: &State, id: &str) -> Behaviour {
    let token = state.hidden(id)["token"].as_str().unwrap_or_default();
    card(token).map_or(Behaviour::Pays, |card| card.behaviour)
}

/// Makes a payment method from a test card's token.
fn make(state: &mut State, card: &Card, customer: Option<&str>) -> String {
    let id = state.id("pm");
    let method = json!({
        "id": id, "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": billing_details(),
        "card": {
            "brand": card.brand,
            "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
            "country": "US", "display_brand": card.brand, "exp_month": 12, "exp_year": 2034,
            "fingerprint": format!("fp{}", card.last4), "funding": "credit", "generated_from": null, "last4": card.last4,
            "networks": { "available": [card.brand], "preferred": null }, "regulated_status": "unregulated",
            "three_d_secure_usage": { "supported": true }, "wallet": null,
        },
        "created": state.now(), "customer": customer, "customer_account": null, "livemode": state.livemode,
        "metadata": {}, "type": "card",
    });
    state.insert_with(method, json!({ "token": card.token }))
}

pub(super) fn billing_details() -> Value {
    json!({
        "address": { "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null },
        "email": null, "name": null, "phone": null, "tax_id": null,
    })
}

/// The id of a stored payment method; a test card's token makes one.
pub(super) fn resolve(
    state: &mut State,
    id: &str,
    customer: Option<&str>,
    param: &str,
) -> Result<String> {
    if let Some(card) = card(id) {
        return Ok(make(state, card, customer));
    }
    state.find("payment_method", id, param)?;
    Ok(id.into())
}

/// Attaches a payment method to a customer and returns its id.
pub(super) fn attach_to(state: &mut State, id: &str, customer: &str) -> Result<String> {
    let id = if let Some(card) = card(id) {
        if card.behaviour == Behaviour::Declines {
            return Err(declined());
        }
        make(state, card, None)
    } else {
        state.find("payment_method", id, "id")?;
        id.to_owned()
    };
    if behaviour(state, &id) == Behaviour::Declines {
        return Err(declined());
    }
    state.edit(&id, |method| method["customer"] = json!(customer));
    state.emit("payment_method.attached", &id);
    Ok(id)
}

pub(super) fn declined() -> StripeError {
    StripeError::card(
        "card_declined",
        Some("generic_decline"),
        "Your card was declined.",
    )
    .param("")
}

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("type card.* billing_details.* metadata.* allow_redisplay")?;
    let token = match params.filled("card.token") {
        Some("tok_chargeDeclined") => "pm_card_chargeDeclined",
        Some("tok_chargeCustomerFail") => "pm_card_chargeCustomerFail",
        Some("tok_threeDSecure2Required") => "pm_card_authenticationRequired",
        _ => "pm_card_visa",
    };
    params.required("type")?;
    let id = resolve(state, token, None, "type")?;
    state.edit(&id, |method| {
        method["metadata"] = params.metadata("metadata");
    });
    Ok(state.read(&id))
}

pub(super) fn attach(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("customer")?;
    let customer = params.required("customer")?;
    customers::living(state, customer, "customer")?;
    let id = attach_to(state, id, customer)?;
    Ok(state.read(&id))
}

pub(super) fn detach(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    let customer = state.find("payment_method", id, "id")?["customer"].clone();
    if let Some(customer) = customer.as_str() {
        state.update(customer, "customer.updated", |value| {
            let default = &mut value["invoice_settings"]["default_payment_method"];
            if *default == id {
                *default = Value::Null;
            }
        });
    }
    state.update(id, "payment_method.detached", |method| {
        method["customer"] = Value::Null;
    });
    Ok(state.read(id))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    let id = resolve(state, id, None, "id")?;
    Ok(state.read(&id))
}

pub(super) fn list(state: &mut State, params: &Params, customer: Option<&str>) -> Result {
    params.allow(&format!("customer type allow_redisplay{PAGING}"))?;
    list::page(
        state,
        params,
        "payment_method",
        "/v1/payment_methods",
        |value| {
            field_is(params, value, "customer")
                && field_is(params, value, "type")
                && customer.is_none_or(|customer| value["customer"] == customer)
        },
    )
}
