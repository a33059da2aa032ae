//! API calls on payment intents and charges.

use serde_json::{Value, json};

use super::{
    customers,
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    methods,
    payments::{self, Attempt, NewIntent},
    state::{State, text},
};

const CREATE: &str = "amount currency customer description metadata.* automatic_payment_methods.enabled \
    automatic_payment_methods.allow_redirects payment_method confirm capture_method receipt_email return_url \
    setup_future_usage off_session statement_descriptor statement_descriptor_suffix shipping.* error_on_requires_action \
    payment_method_options.* excluded_payment_method_types[]";

/// The largest amount of a charge.
const MOST: i64 = 99_999_999;

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow(CREATE)?;
    let amount = params.required_int("amount")?;
    let currency = params.required("currency")?.to_lowercase();
    if amount <= 0 {
        return Err(StripeError::invalid(
            "The amount must be greater than or equal to the minimum charge amount allowed for your account and the currency \
             set (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).  If you want to save a Payment Method \
             for future use without an immediate payment, use a Setup Intent instead: \
             https://docs.stripe.com/payments/setup-intents",
        )
        .code("parameter_invalid_integer")
        .param("amount"));
    }
    if amount > MOST {
        return Err(
            StripeError::invalid(format!("Amount must be no more than {MOST}"))
                .code("amount_too_large")
                .param("amount"),
        );
    }
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(
            StripeError::invalid(format!("Invalid currency: {currency}")).param("currency"),
        );
    }
    if let Some(customer) = params.filled("customer") {
        customers::living(state, customer, "customer")?;
    }
    let confirm = params.flag("confirm")?.unwrap_or(false);
    let method = method_of(state, params)?;
    if confirm && method.is_none() {
        return Err(StripeError::invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
        )
        .code("parameter_missing")
        .param("payment_method"));
    }
    let id = payments::insert_intent(
        state,
        &NewIntent {
            amount,
            currency: &currency,
            customer: params.filled("customer"),
            description: params.filled("description"),
            metadata: params.metadata("metadata"),
            off_session: false,
            invoice: None,
        },
    );
    state.edit(&id, |intent| {
        for field in [
            "receipt_email",
            "setup_future_usage",
            "statement_descriptor",
            "statement_descriptor_suffix",
        ] {
            customers::set_text(params, intent, field, field);
        }
        if let Some(method) = params.filled("capture_method") {
            intent["capture_method"] = json!(method);
        }
    });
    let Some(method) = method else {
        return Ok(state.read(&id));
    };
    if confirm {
        return confirm_with(state, &id, &method, params.filled("return_url"));
    }
    state.edit(&id, |intent| {
        intent["payment_method"] = json!(method);
        intent["status"] = json!("requires_confirmation");
    });
    Ok(state.read(&id))
}

fn method_of(state: &mut State, params: &Params) -> Result<Option<String>> {
    match params.filled("payment_method") {
        Some(method) => {
            methods::resolve(state, method, params.filled("customer"), "payment_method").map(Some)
        }
        None => Ok(None),
    }
}

/// Charges an intent; a declined card is an error, as at Stripe.
pub(super) fn confirm_with(
    state: &mut State,
    id: &str,
    method: &str,
    return_url: Option<&str>,
) -> Result {
    let attempt = payments::charge(state, id, method, return_url);
    payments::settle(state, id, &attempt);
    match attempt {
        Attempt::Failed(error) => Err(error),
        Attempt::Paid | Attempt::NeedsAuthentication => Ok(state.read(id)),
    }
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("client_secret")?;
    state.find("payment_intent", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("customer{PAGING}"))?;
    list::page(
        state,
        params,
        "payment_intent",
        "/v1/payment_intents",
        |value| field_is(params, value, "customer"),
    )
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("amount currency customer description metadata.* receipt_email payment_method setup_future_usage")?;
    with_status(
        state,
        id,
        &[
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
        ],
    )?;
    let amount = params.int("amount")?;
    let method = method_of(state, params)?;
    state.edit(id, |intent| {
        if let Some(amount) = amount {
            intent["amount"] = json!(amount);
        }
        for field in ["description", "receipt_email", "customer"] {
            customers::set_text(params, intent, field, field);
        }
        if let Some(method) = method {
            intent["payment_method"] = json!(method);
            intent["status"] = json!("requires_confirmation");
        }
        params.merge_metadata("metadata", &mut intent["metadata"]);
    });
    Ok(state.read(id))
}

fn with_status<'a>(state: &'a State, id: &str, statuses: &[&str]) -> Result<&'a Value> {
    let intent = state.find("payment_intent", id, "id")?;
    let status = text(intent, "status");
    if statuses.contains(&status) {
        return Ok(intent);
    }
    Err(StripeError::invalid(format!(
        "This PaymentIntent's {status} status does not allow this operation."
    ))
    .code("payment_intent_unexpected_state")
    .with("payment_intent", intent.clone()))
}

pub(super) fn confirm(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("payment_method return_url off_session setup_future_usage receipt_email client_secret error_on_requires_action")?;
    let intent = with_status(
        state,
        id,
        &[
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
        ],
    )?
    .clone();
    let method = match params.filled("payment_method") {
        Some(method) => {
            methods::resolve(state, method, intent["customer"].as_str(), "payment_method")?
        }
        None => intent["payment_method"]
            .as_str()
            .ok_or_else(|| StripeError::parameter_missing("payment_method"))?
            .to_owned(),
    };
    confirm_with(state, id, &method, params.filled("return_url"))
}

pub(super) fn cancel(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("cancellation_reason")?;
    with_status(
        state,
        id,
        &[
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
            "requires_capture",
            "processing",
        ],
    )?;
    let reason = params.choice(
        "cancellation_reason",
        &[
            "duplicate",
            "fraudulent",
            "requested_by_customer",
            "abandoned",
        ],
    )?;
    let now = state.now();
    state.edit(id, |intent| {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now);
        intent["cancellation_reason"] = json!(reason);
        intent["next_action"] = Value::Null;
    });
    state.emit("payment_intent.canceled", id);
    Ok(state.read(id))
}

pub(super) fn get_charge(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("charge", id, "id").cloned()
}

pub(super) fn list_charges(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("customer payment_intent transfer_group{PAGING}"))?;
    list::page(state, params, "charge", "/v1/charges", |value| {
        field_is(params, value, "customer") && field_is(params, value, "payment_intent")
    })
}

pub(super) fn update_charge(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("description metadata.* receipt_email")?;
    state.find("charge", id, "id")?;
    state.update(id, "charge.updated", |charge| {
        for field in ["description", "receipt_email"] {
            customers::set_text(params, charge, field, field);
        }
        params.merge_metadata("metadata", &mut charge["metadata"]);
    });
    Ok(state.read(id))
}
