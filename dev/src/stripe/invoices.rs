//! Life of an invoice: draft, finalised, collected, paid or failed.

use serde_json::{Value, json};

use super::{
    discounts,
    error::{Result, StripeError},
    lines::{self, Line},
    payments::{self, Attempt, NewIntent},
    renewals,
    state::{State, int, sublist, text},
    subscriptions, totals,
};

/// An invoice to be made.
pub(super) struct NewInvoice<'a> {
    pub(super) customer: &'a str,
    pub(super) subscription: Option<&'a str>,
    pub(super) reason: &'a str,
    pub(super) currency: &'a str,
    pub(super) period: (i64, i64),
    pub(super) lines: Vec<Line>,
    pub(super) discounts: Vec<String>,
    /// Time at which it finalises by itself.
    pub(super) finalizes_at: Option<i64>,
    pub(super) metadata: Value,
}

/// Makes a draft.
pub(super) fn draft(state: &mut State, new: &NewInvoice<'_>) -> String {
    let id = state.id("in");
    let customer = state.read(new.customer);
    let parent = new.subscription.map(|subscription| {
        let metadata = state.read(subscription)["metadata"].clone();
        json!({
            "quote_details": null, "type": "subscription_details",
            "subscription_details": { "metadata": metadata, "subscription": subscription },
        })
    });
    let automatic_tax = new
        .subscription
        .is_some_and(|subscription| state.read(subscription)["automatic_tax"]["enabled"] == true);
    let rendering = (new.reason == "manual").then(|| {
        json!({ "amount_tax_display": null, "pdf": { "page_size": "auto" }, "template": null, "template_version": null })
    });
    let invoice = json!({
        "id": id, "object": "invoice", "account_country": "US", "account_name": "Fake Stripe",
        "account_tax_ids": null, "amount_due": 0, "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": 0,
        "amount_shipping": 0, "application": null, "attempt_count": 0, "attempted": false,
        "auto_advance": new.finalizes_at.is_some() || new.reason == "subscription_create",
        "automatic_tax": {
            "disabled_reason": null, "enabled": automatic_tax,
            "liability": automatic_tax.then(|| json!({ "type": "self" })),
            "provider": automatic_tax.then_some("stripe"), "status": automatic_tax.then_some("complete"),
        },
        "automatically_finalizes_at": new.finalizes_at, "billing_reason": new.reason,
        "collection_method": "charge_automatically", "created": state.now(), "currency": new.currency,
        "custom_fields": null, "customer": new.customer, "customer_account": null,
        "customer_address": customer["address"], "customer_email": customer["email"], "customer_name": customer["name"],
        "customer_phone": customer["phone"], "customer_shipping": customer["shipping"],
        "customer_tax_exempt": "none", "customer_tax_ids": [], "default_payment_method": null, "default_source": null,
        "default_tax_rates": [], "description": null, "discounts": new.discounts, "due_date": null,
        "effective_at": null, "ending_balance": null, "footer": null, "from_invoice": null, "hosted_invoice_url": null,
        "invoice_pdf": null, "issuer": { "type": "self" }, "last_finalization_error": null, "latest_revision": null,
        "lines": sublist(&[], &format!("/v1/invoices/{id}/lines")), "livemode": state.livemode,
        "metadata": new.metadata, "next_payment_attempt": new.finalizes_at, "number": null, "on_behalf_of": null,
        "parent": parent,
        "payment_settings": { "default_mandate": null, "payment_method_options": null, "payment_method_types": null },
        "period_end": new.period.1, "period_start": new.period.0, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "receipt_number": null, "rendering": rendering, "shipping_cost": null,
        "shipping_details": null, "starting_balance": 0, "statement_descriptor": null, "status": "draft",
        "status_transitions": { "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null },
        "subtotal": 0, "subtotal_excluding_tax": 0, "test_clock": null, "total": 0, "total_discount_amounts": [],
        "total_excluding_tax": 0, "total_pretax_credit_amounts": [], "total_taxes": [], "webhooks_delivered_at": null,
    });
    state.insert(invoice);
    add_lines(state, &id, &new.lines);
    if let Some(subscription) = new.subscription {
        state.edit(subscription, |value| value["latest_invoice"] = json!(id));
    }
    state.emit("invoice.created", &id);
    id
}

/// Adds lines to a draft and computes its totals.
pub(super) fn add_lines(state: &mut State, id: &str, lines: &[Line]) {
    for line in lines {
        let value = line.value(state, id);
        state.edit(id, |invoice| {
            if let Some(data) = invoice["lines"]["data"].as_array_mut() {
                data.push(value);
            }
        });
    }
    lines::link_items(state, id);
    totals::compute(state, id);
}

/// Finalises a draft; one over nothing is paid at once.
pub(super) fn finalize(state: &mut State, id: &str) {
    let invoice = state.read(id);
    if invoice["status"] != "draft" {
        return;
    }
    totals::count_usage(state, id);
    totals::apply_balance(state, id);
    let invoice = state.read(id);
    let now = state.now();
    let customer = text(&invoice, "customer").to_owned();
    let sequence = int(&state.read(&customer), "next_invoice_sequence");
    let number = format!(
        "{}-{sequence:04}",
        text(&state.read(&customer), "invoice_prefix")
    );
    state.edit(&customer, |customer| {
        customer["next_invoice_sequence"] = json!(sequence + 1);
    });
    let (page, pdf) = (
        format!("{}/i/{id}", state.url),
        format!("{}/i/{id}/pdf", state.url),
    );
    state.edit(id, |invoice| {
        invoice["status"] = json!("open");
        invoice["number"] = json!(number);
        invoice["effective_at"] = json!(now);
        invoice["hosted_invoice_url"] = json!(page);
        invoice["invoice_pdf"] = json!(pdf);
        invoice["automatically_finalizes_at"] = Value::Null;
        invoice["webhooks_delivered_at"] = json!(now);
        invoice["status_transitions"]["finalized_at"] = json!(now);
    });
    if int(&invoice, "amount_due") > 0 {
        insert_payment(state, id);
    }
    state.emit("invoice.finalized", id);
    discounts::used(state, &invoice);
    if int(&invoice, "amount_due") == 0 {
        mark_paid(state, id);
    }
}

/// Makes the payment intent of an invoice and links them.
fn insert_payment(state: &mut State, id: &str) {
    let invoice = state.read(id);
    let description = match text(&invoice, "billing_reason") {
        "subscription_create" => "Subscription creation",
        "manual" => "Payment for Invoice",
        _ => "Subscription update",
    };
    let intent = payments::insert_intent(
        state,
        &NewIntent {
            amount: int(&invoice, "amount_due"),
            currency: text(&invoice, "currency"),
            customer: invoice["customer"].as_str(),
            description: Some(description),
            metadata: json!({}),
            off_session: invoice["parent"].is_object(),
            invoice: Some(id),
        },
    );
    let payment = state.id("inpay");
    state.insert(json!({
        "id": payment, "object": "invoice_payment", "amount_paid": null, "amount_requested": invoice["amount_due"],
        "created": state.now(), "currency": invoice["currency"], "invoice": id, "is_default": true,
        "livemode": state.livemode, "payment": { "payment_intent": intent, "type": "payment_intent" },
        "status": "open", "status_transitions": { "canceled_at": null, "paid_at": null },
    }));
}

/// The invoice payment and the payment intent of an invoice.
pub(super) fn payment_of(state: &State, id: &str) -> Option<(String, String)> {
    let payment = state
        .all("invoice_payment")
        .rfind(|payment| payment["invoice"] == id)?;
    Some((
        text(payment, "id").into(),
        text(&payment["payment"], "payment_intent").into(),
    ))
}

/// The payment method that pays an invoice.
pub(super) fn method_for(state: &State, invoice: &Value) -> Option<String> {
    let subscription = state.read(text(
        &invoice["parent"]["subscription_details"],
        "subscription",
    ));
    let customer = state.read(text(invoice, "customer"));
    [
        &invoice["default_payment_method"],
        &subscription["default_payment_method"],
        &customer["invoice_settings"]["default_payment_method"],
    ]
    .into_iter()
    .find_map(|method| method.as_str().map(Into::into))
}

/// Charges an open invoice.
pub(super) fn collect(state: &mut State, id: &str, method: Option<String>) -> Result<()> {
    let invoice = state.read(id);
    let Some((_, intent)) = payment_of(state, id) else {
        return Ok(());
    };
    let Some(method) = method.or_else(|| method_for(state, &invoice)) else {
        attempt_failed(state, id);
        return Err(no_method());
    };
    let attempt = payments::charge(state, &intent, &method, None);
    payments::settle(state, &intent, &attempt);
    match attempt {
        Attempt::Paid => Ok(()),
        Attempt::NeedsAuthentication => Err(StripeError::card(
            "invoice_payment_intent_requires_action",
            None,
            "Payment for this invoice requires additional user action before it can be completed successfully. Payment can \
             be completed using the PaymentIntent associated with the invoice.",
        )),
        Attempt::Failed(error) => Err(error),
    }
}

pub(super) fn no_method() -> StripeError {
    StripeError::invalid(
        "This customer has no attached payment source or default payment method. Please consider adding a default payment \
         method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
    )
    .code("resource_missing")
}

/// Marks an open invoice as paid, which may activate its subscription.
pub(super) fn mark_paid(state: &mut State, id: &str) {
    let now = state.now();
    let due = int(&state.read(id), "amount_due");
    let payment = payment_of(state, id);
    if let Some((payment, _)) = &payment {
        state.edit(payment, |payment| {
            payment["status"] = json!("paid");
            payment["amount_paid"] = payment["amount_requested"].clone();
            payment["status_transitions"]["paid_at"] = json!(now);
        });
    }
    let previous = state.edit(id, |invoice| {
        invoice["status"] = json!("paid");
        invoice["amount_paid"] = json!(due);
        invoice["amount_remaining"] = json!(0);
        invoice["attempted"] = json!(true);
        invoice["attempt_count"] = json!(int(invoice, "attempt_count") + i64::from(due > 0));
        invoice["next_payment_attempt"] = Value::Null;
        invoice["auto_advance"] = json!(false);
        invoice["status_transitions"]["paid_at"] = json!(now);
    });
    state.emit_change("invoice.updated", id, previous);
    state.emit("invoice.paid", id);
    state.emit("invoice.payment_succeeded", id);
    if let Some((payment, _)) = payment {
        state.emit("invoice_payment.paid", &payment);
    }
    subscriptions::invoice_paid(state, id);
}

/// Records a failed attempt, which may make the subscription past due.
pub(super) fn attempt_failed(state: &mut State, id: &str) {
    let first = state.read(id)["billing_reason"] == "subscription_create";
    count_attempt(state, id, !first);
    state.emit("invoice.payment_failed", id);
    subscriptions::invoice_failed(state, id);
}

/// Records that an open invoice waits for its customer's authentication.
pub(super) fn action_required(state: &mut State, id: &str) {
    if state.read(id)["billing_reason"] == "subscription_create" {
        state.update(id, "invoice.updated", |invoice| {
            invoice["attempted"] = json!(true);
        });
    } else {
        count_attempt(state, id, true);
        state.emit("invoice.payment_failed", id);
    }
    state.emit("invoice.payment_action_required", id);
    subscriptions::invoice_failed(state, id);
}

fn count_attempt(state: &mut State, id: &str, retries: bool) {
    let next = retries.then(|| renewals::next_attempt(state, id)).flatten();
    state.update(id, "invoice.updated", |invoice| {
        invoice["attempted"] = json!(true);
        invoice["attempt_count"] = json!(int(invoice, "attempt_count") + 1);
        invoice["next_payment_attempt"] = json!(next);
    });
}

/// Voids an open invoice and cancels its payment intent.
pub(super) fn void(state: &mut State, id: &str) {
    let now = state.now();
    if let Some((payment, intent)) = payment_of(state, id) {
        state.update(&intent, "payment_intent.canceled", |intent| {
            intent["status"] = json!("canceled");
            intent["canceled_at"] = json!(now);
            intent["cancellation_reason"] = json!("void_invoice");
            intent["next_action"] = Value::Null;
        });
        state.edit(&payment, |payment| {
            payment["status"] = json!("canceled");
            payment["status_transitions"]["canceled_at"] = json!(now);
        });
    }
    state.edit(id, |invoice| {
        invoice["status"] = json!("void");
        invoice["auto_advance"] = json!(false);
        invoice["next_payment_attempt"] = Value::Null;
        invoice["status_transitions"]["voided_at"] = json!(now);
    });
    state.emit("invoice.voided", id);
}

/// Gives an open invoice up.
pub(super) fn mark_uncollectible(state: &mut State, id: &str) {
    let now = state.now();
    state.edit(id, |invoice| {
        invoice["status"] = json!("uncollectible");
        invoice["next_payment_attempt"] = Value::Null;
        invoice["status_transitions"]["marked_uncollectible_at"] = json!(now);
    });
    state.emit("invoice.marked_uncollectible", id);
}
