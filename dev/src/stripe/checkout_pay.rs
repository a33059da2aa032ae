//! Actions of a customer on a checkout page.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    checkout::{open, reductions_of},
    error::Result,
    form::Params,
    invoices, methods,
    payments::{self, Attempt, NewIntent},
    state::{State, int, secret_of, text},
    subscriptions::{self, NewSubscription},
};

/// Outcome of a payment on a checkout page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The card pays.
    Paid,
    /// The card pays today and fails at the next renewal.
    PaidThenFails,
    /// The card is declined; the session stays open.
    Declined,
    /// The card asks for authentication, which the customer approves.
    Authenticated,
    /// The card asks for authentication, which fails; the session stays open.
    AuthenticationFailed,
}

/// Pays an open session; returns it.
pub(super) fn pay(state: &mut State, id: &str, outcome: Outcome) -> Result {
    let session = open(state, id)?.clone();
    if outcome == Outcome::Declined || outcome == Outcome::AuthenticationFailed {
        return refuse(state, &session, outcome);
    }
    let customer = customer_of(state, &session);
    let method = methods::resolve(state, "pm_card_visa", None, "payment_method")?;
    let without_card = session["payment_method_collection"] == "if_required"
        && session["mode"] == "subscription"
        && int(&session, "amount_total") == 0;
    if !without_card {
        methods::attach_to(state, &method, &customer)?;
    }
    let used = (!without_card).then_some(method.as_str());
    match text(&session, "mode") {
        "subscription" => subscribe(state, &session, &customer, used)?,
        "payment" => pay_once(state, &session, &customer, &method),
        _ => set_up(state, &session, &customer, &method),
    }
    if outcome == Outcome::PaidThenFails {
        state.hide(&method, "token", json!("pm_card_chargeCustomerFail"));
    }
    state.edit(id, |session| {
        session["status"] = json!("complete");
        session["customer"] = json!(customer);
        session["url"] = Value::Null;
        if session["automatic_tax"]["enabled"] == true {
            session["automatic_tax"]["status"] = json!("complete");
        }
    });
    if state.hidden(id)["saves_address"] == true {
        state.update(&customer, "customer.updated", |customer| {
            customer["address"] = json!({
                "city": "Berlin", "country": "DE", "line1": "Teststraße 1", "line2": null, "postal_code": "10115",
                "state": null,
            });
        });
    }
    state.emit("checkout.session.completed", id);
    Ok(state.read(id))
}

/// The session's customer; a new one where it has none.
fn customer_of(state: &mut State, session: &Value) -> String {
    if let Some(customer) = session["customer"].as_str() {
        return customer.into();
    }
    let email = session["customer_email"]
        .as_str()
        .unwrap_or("customer@example.com");
    let made = super::customers::create(state, &Params::of(&json!({ "email": email })));
    made.map_or_else(
        |_| String::new(),
        |customer| text(&customer, "id").to_owned(),
    )
}

fn subscribe(
    state: &mut State,
    session: &Value,
    customer: &str,
    method: Option<&str>,
) -> Result<()> {
    let id = text(session, "id");
    let hidden = state.hidden(id).clone();
    let recurring = hidden["line_items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let quantity = line["quantity"].as_i64().unwrap_or(1);
            (text(&line["price"], "id").to_owned(), quantity)
        })
        .collect();
    let data = Params::of(&hidden["subscription_data"]);
    let now = state.now();
    let trial_end = hidden["trial_days"]
        .as_i64()
        .map(|days| now + days * 86_400)
        .or(hidden["trial_end"].as_i64());
    let missing = data
        .choice(
            "trial_settings.end_behavior.missing_payment_method",
            &["create_invoice", "cancel", "pause"],
        )?
        .unwrap_or("create_invoice");
    let new = NewSubscription {
        customer: customer.into(),
        items: recurring,
        metadata: data.metadata("metadata"),
        trial_end,
        missing_payment_method: missing,
        default_payment_method: method.map(Into::into),
        reductions: reductions_of(state, session),
        description: data.filled("description").map(Into::into),
        automatic_tax: session["automatic_tax"]["enabled"] == true,
        session: Some(id.into()),
        cancel_at: None,
        cancel_at_period_end: false,
    };
    let subscription = subscriptions::begin(state, &new);
    let invoice = text(&state.read(&subscription), "latest_invoice").to_owned();
    if state.read(&invoice)["status"] == "open" {
        invoices::collect(state, &invoice, method.map(Into::into))?;
    }
    let paid = if trial_end.is_some() {
        "no_payment_required"
    } else {
        "paid"
    };
    state.edit(id, |session| {
        session["subscription"] = json!(subscription);
        session["invoice"] = json!(invoice);
        session["payment_status"] = json!(paid);
    });
    Ok(())
}

fn pay_once(state: &mut State, session: &Value, customer: &str, method: &str) {
    let id = text(session, "id");
    let data = Params::of(&state.hidden(id)["payment_intent_data"].clone());
    let intent = insert_intent(state, session, Some(customer), &data);
    payments::charge(state, &intent, method, None);
    state.edit(id, |session| {
        session["payment_intent"] = json!(intent);
        session["payment_status"] = json!("paid");
    });
}

fn insert_intent(
    state: &mut State,
    session: &Value,
    customer: Option<&str>,
    data: &Params,
) -> String {
    payments::insert_intent(
        state,
        &NewIntent {
            amount: int(session, "amount_total"),
            currency: text(session, "currency"),
            customer,
            description: data.filled("description"),
            metadata: data.metadata("metadata"),
            off_session: false,
            invoice: None,
        },
    )
}

fn set_up(state: &mut State, session: &Value, customer: &str, method: &str) {
    let id = state.id("seti");
    let secret = secret_of(&id);
    state.insert(json!({
        "id": id, "object": "setup_intent", "allowed_payment_method_types": null, "application": null,
        "automatic_payment_methods": null, "cancellation_reason": null, "client_secret": secret,
        "created": state.now(), "customer": customer, "customer_account": null, "description": null,
        "excluded_payment_method_types": null, "flow_directions": null, "last_setup_error": null,
        "latest_attempt": null, "livemode": state.livemode, "mandate": null, "metadata": {}, "next_action": null,
        "on_behalf_of": null, "payment_method": method, "payment_method_configuration_details": null,
        "payment_method_options": {}, "payment_method_types": ["card"], "single_use_mandate": null,
        "status": "succeeded", "usage": "off_session",
    }));
    state.emit("setup_intent.succeeded", &id);
    state.edit(text(session, "id"), |session| {
        session["setup_intent"] = json!(id);
    });
}

/// A refused card: the session stays open, and nothing but a failed payment intent is left.
fn refuse(state: &mut State, session: &Value, outcome: Outcome) -> Result {
    if int(session, "amount_total") == 0 {
        return Err(methods::declined());
    }
    let data = Params::of(&json!({}));
    let intent = insert_intent(state, session, session["customer"].as_str(), &data);
    let token = if outcome == Outcome::Declined {
        "pm_card_chargeDeclined"
    } else {
        "pm_card_authenticationRequired"
    };
    let method = methods::resolve(state, token, None, "payment_method")?;
    let mut attempt = payments::charge(state, &intent, &method, None);
    if matches!(attempt, Attempt::NeedsAuthentication) {
        attempt = payments::authenticate(state, &intent, false);
    }
    match attempt {
        Attempt::Failed(error) => Err(error),
        Attempt::Paid | Attempt::NeedsAuthentication => Err(methods::declined()),
    }
}
