//! Disputes of charges.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    payments,
    state::{State, int, text},
};

const EVIDENCE: [&str; 27] = [
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

/// Opens a dispute of what is left of a charge.
pub(super) fn open(state: &mut State, charge: &str, reason: &str) -> Result {
    let before = state.find("charge", charge, "charge")?.clone();
    if before["paid"] != true || before["disputed"] == true {
        return Err(StripeError::invalid(format!(
            "Charge {charge} cannot be disputed."
        )));
    }
    let id = state.id("du");
    let amount = int(&before, "amount") - int(&before, "amount_refunded");
    let currency = text(&before, "currency").to_owned();
    let transaction = payments::balance_transaction(state, &id, -amount, &currency, "adjustment");
    let mut evidence: Value = EVIDENCE
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    evidence["enhanced_evidence"] = json!({});
    let now = state.now();
    state.insert(json!({
        "id": id, "object": "dispute", "amount": amount, "balance_transaction": transaction,
        "balance_transactions": [state.read(&transaction)], "charge": charge, "created": now, "currency": currency,
        "enhanced_eligibility_types": [], "evidence": evidence,
        "evidence_details": { "due_by": now + 9 * 86_400, "enhanced_eligibility": {}, "has_evidence": false,
            "past_due": false, "submission_count": 0 },
        "is_charge_refundable": false, "livemode": state.livemode, "metadata": {},
        "payment_intent": before["payment_intent"],
        "payment_method_details": { "card": { "brand": "visa", "case_type": "chargeback", "network": "visa",
            "network_reason_code": "10.4" },
            "type": "card" },
        "reason": reason, "status": "needs_response",
    }));
    state.edit(charge, |charge| {
        charge["disputed"] = json!(true);
        charge["dispute"] = json!(id);
    });
    state.emit("charge.dispute.created", &id);
    state.emit("charge.dispute.funds_withdrawn", &id);
    Ok(state.read(&id))
}

/// Closes a dispute, won or lost.
pub(super) fn close(state: &mut State, id: &str, won: bool) -> Result {
    let before = state.find("dispute", id, "id")?;
    if matches!(text(before, "status"), "won" | "lost") {
        return Err(StripeError::invalid("This dispute is already closed."));
    }
    let previous = state.edit(id, |dispute| {
        dispute["status"] = json!(if won { "won" } else { "lost" });
    });
    state.emit_change("charge.dispute.closed", id, previous);
    if won {
        state.emit("charge.dispute.funds_reinstated", id);
    }
    Ok(state.read(id))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("dispute", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("charge payment_intent{PAGING}"))?;
    list::page(state, params, "dispute", "/v1/disputes", |value| {
        field_is(params, value, "charge") && field_is(params, value, "payment_intent")
    })
}

/// Takes evidence; at Stripe's word `winning_evidence` the dispute is won.
pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("evidence.* metadata.* submit")?;
    state.find("dispute", id, "id")?;
    let submit = params.flag("submit")?.unwrap_or(params.has("evidence"));
    let said = params
        .filled("evidence.uncategorized_text")
        .map(str::to_owned);
    state.update(id, "charge.dispute.updated", |dispute| {
        params.merge_metadata("metadata", &mut dispute["metadata"]);
        params.merge_metadata("evidence", &mut dispute["evidence"]);
        if params.has("evidence") {
            dispute["evidence_details"]["has_evidence"] = json!(true);
        }
        if submit {
            dispute["status"] = json!("under_review");
            dispute["evidence_details"]["submission_count"] =
                json!(int(&dispute["evidence_details"], "submission_count") + 1);
        }
    });
    match (submit, said.as_deref()) {
        (true, Some("winning_evidence")) => close(state, id, true),
        (true, Some("losing_evidence")) => close(state, id, false),
        _ => Ok(state.read(id)),
    }
}

pub(super) fn close_call(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    close(state, id, false)
}
