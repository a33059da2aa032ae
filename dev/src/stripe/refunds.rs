//! Refunds and disputes of charges.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    payments,
    state::{State, int, text},
};

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("charge payment_intent amount reason metadata.* refund_application_fee reverse_transfer instructions_email")?;
    let charge = if let Some(charge) = params.filled("charge") {
        text(state.find("charge", charge, "charge")?, "id").to_owned()
    } else {
        let intent = params.required("payment_intent")?;
        let intent = state.find("payment_intent", intent, "payment_intent")?;
        intent["latest_charge"]
            .as_str()
            .map(Into::into)
            .ok_or_else(|| {
                StripeError::invalid(
                    "This PaymentIntent does not have a successful charge to refund.",
                )
                .code("payment_intent_unexpected_state")
            })?
    };
    let reason = params.choice(
        "reason",
        &["duplicate", "fraudulent", "requested_by_customer"],
    )?;
    let amount = params.int("amount")?;
    refund(state, &charge, amount, reason, &params.metadata("metadata"))
}

/// Refunds a part of a charge, or all that is left of it.
pub(super) fn refund(
    state: &mut State,
    charge: &str,
    amount: Option<i64>,
    reason: Option<&str>,
    metadata: &Value,
) -> Result {
    let before = state.find("charge", charge, "charge")?.clone();
    if before["paid"] != true {
        return Err(StripeError::invalid(format!(
            "Charge {charge} has not been paid and cannot be refunded."
        )));
    }
    let left = int(&before, "amount") - int(&before, "amount_refunded");
    if left == 0 {
        return Err(
            StripeError::invalid(format!("Charge {charge} has already been refunded."))
                .code("charge_already_refunded"),
        );
    }
    if before["disputed"] == true {
        return Err(StripeError::invalid(format!(
            "Charge {charge} has been charged back; cannot issue a refund."
        ))
        .code("charge_disputed"));
    }
    let amount = amount.unwrap_or(left);
    if amount < 1 {
        return Err(StripeError::invalid("Invalid positive integer")
            .code("parameter_invalid_integer")
            .param("amount"));
    }
    if amount > left {
        return Err(StripeError::invalid(format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        ))
        .param("amount"));
    }
    let id = state.id("re");
    let currency = text(&before, "currency").to_owned();
    let transaction = payments::balance_transaction(state, &id, -amount, &currency, "refund");
    state.insert(json!({
        "id": id, "object": "refund", "amount": amount, "balance_transaction": transaction, "charge": charge,
        "created": state.now(), "currency": currency, "customer": before["customer"], "customer_account": null,
        "destination_details": { "card": { "reference_status": "pending",
            "reference_type": "acquirer_reference_number", "type": "refund" }, "type": "card" },
        "metadata": metadata, "payment_intent": before["payment_intent"], "payment_method": before["payment_method"],
        "reason": reason, "receipt_number": null, "source_transfer_reversal": null, "status": "succeeded",
        "transfer_reversal": null,
    }));
    let previous = state.edit(charge, |charge| {
        charge["amount_refunded"] = json!(int(charge, "amount_refunded") + amount);
        charge["refunded"] = json!(amount == left);
    });
    state.emit("refund.created", &id);
    state.emit_change("charge.refunded", charge, previous);
    Ok(state.read(&id))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("refund", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("charge payment_intent{PAGING}"))?;
    list::page(state, params, "refund", "/v1/refunds", |value| {
        field_is(params, value, "charge") && field_is(params, value, "payment_intent")
    })
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("metadata.*")?;
    state.find("refund", id, "id")?;
    state.update(id, "refund.updated", |refund| {
        params.merge_metadata("metadata", &mut refund["metadata"]);
    });
    Ok(state.read(id))
}
