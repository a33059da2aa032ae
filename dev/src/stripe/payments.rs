//! Payment intents and charges: what a card does when it is charged.

use serde_json::{Value, json};

use super::{
    error::StripeError,
    invoices, methods,
    methods::Behaviour,
    state::{State, int, secret_of, text},
};

/// A payment intent to be made.
pub(super) struct NewIntent<'a> {
    pub(super) amount: i64,
    pub(super) currency: &'a str,
    pub(super) customer: Option<&'a str>,
    pub(super) description: Option<&'a str>,
    pub(super) metadata: Value,
    pub(super) off_session: bool,
    /// Invoice that it pays.
    pub(super) invoice: Option<&'a str>,
}

/// The end of one attempt to charge a card.
#[derive(Debug)]
pub(super) enum Attempt {
    Paid,
    NeedsAuthentication,
    Failed(StripeError),
}

pub(super) fn insert_intent(state: &mut State, new: &NewIntent<'_>) -> String {
    let id = state.id("pi");
    let setup = new.off_session.then_some("off_session");
    let automatic = if new.invoice.is_some() {
        Value::Null
    } else {
        json!({ "allow_redirects": "always", "enabled": true })
    };
    let configuration = new
        .invoice
        .is_none()
        .then(|| json!({ "id": format!("pmc_{}", state.salt()), "parent": null }));
    let intent = json!({
        "id": id, "object": "payment_intent", "allowed_payment_method_types": null, "amount": new.amount,
        "amount_capturable": 0, "amount_details": { "tip": {} }, "amount_received": 0, "application": null,
        "application_fee_amount": null, "automatic_payment_methods": automatic,
        "canceled_at": null, "cancellation_reason": null, "capture_method": "automatic_async",
        "client_secret": secret_of(&id), "confirmation_method": "automatic", "created": state.now(),
        "currency": new.currency, "customer": new.customer, "customer_account": null, "description": new.description,
        "excluded_payment_method_types": null, "last_payment_error": null, "latest_charge": null,
        "livemode": state.livemode, "managed_payments": null, "metadata": new.metadata, "next_action": null,
        "on_behalf_of": null, "payment_details": { "customer_reference": null, "order_reference": new.invoice },
        "payment_method": null, "payment_method_configuration_details": configuration,
        "payment_method_options": { "card": {
            "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic",
        } },
        "payment_method_types": ["card"], "payment_record": null, "processing": null, "receipt_email": null,
        "review": null, "setup_future_usage": setup, "shipping": null, "source": null, "statement_descriptor": null,
        "statement_descriptor_suffix": null, "status": "requires_payment_method", "transfer_data": null,
        "transfer_group": null,
    });
    state.insert(intent);
    state.emit("payment_intent.created", &id);
    id
}

/// Charges a payment method for an intent.
pub(super) fn charge(
    state: &mut State,
    intent: &str,
    method: &str,
    return_url: Option<&str>,
) -> Attempt {
    match methods::behaviour(state, method) {
        Behaviour::Pays => {
            succeed(state, intent, method);
            Attempt::Paid
        }
        Behaviour::NeedsAuthentication => {
            let url = format!("{}/authenticate/{intent}", state.url);
            let next = if return_url.is_some() {
                json!({ "type": "redirect_to_url", "redirect_to_url": { "return_url": return_url, "url": url } })
            } else {
                json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {
                    "type": "three_d_secure_redirect", "stripe_js": url, "source": "src_fake",
                } })
            };
            state.update(intent, "payment_intent.requires_action", |intent| {
                intent["status"] = json!("requires_action");
                intent["payment_method"] = json!(method);
                intent["last_payment_error"] = Value::Null;
                intent["next_action"] = next;
            });
            Attempt::NeedsAuthentication
        }
        Behaviour::Declines | Behaviour::Fails => {
            Attempt::Failed(decline(state, intent, method, methods::declined()))
        }
    }
}

/// Ends the authentication that an intent waits for.
pub(super) fn authenticate(state: &mut State, intent: &str, approved: bool) -> Attempt {
    let method = text(&state.read(intent), "payment_method").to_owned();
    if approved {
        succeed(state, intent, &method);
        return Attempt::Paid;
    }
    let error = StripeError::card(
        "payment_intent_authentication_failure",
        None,
        "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod \
         to attempt to fulfill this PaymentIntent again.",
    );
    let fields = Value::Object(error.fields());
    state.update(intent, "payment_intent.payment_failed", |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["next_action"] = Value::Null;
        intent["payment_method"] = Value::Null;
        intent["last_payment_error"] = fields;
    });
    Attempt::Failed(error)
}

fn succeed(state: &mut State, intent: &str, method: &str) {
    let charge = insert_charge(state, intent, method, None);
    let amount = int(&state.read(intent), "amount");
    state.edit(intent, |intent| {
        intent["status"] = json!("succeeded");
        intent["payment_method"] = json!(method);
        intent["amount_received"] = json!(amount);
        intent["latest_charge"] = json!(charge);
        intent["next_action"] = Value::Null;
        intent["last_payment_error"] = Value::Null;
    });
    state.emit("charge.succeeded", &charge);
    state.emit("payment_intent.succeeded", intent);
}

fn decline(state: &mut State, intent: &str, method: &str, error: StripeError) -> StripeError {
    let charge = insert_charge(state, intent, method, Some("card_declined"));
    let shown = state.read(method);
    let error = error
        .with("charge", json!(charge))
        .with("payment_method", shown);
    let fields = Value::Object(error.fields());
    state.edit(intent, |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["payment_method"] = Value::Null;
        intent["latest_charge"] = json!(charge);
        intent["next_action"] = Value::Null;
        intent["last_payment_error"] = fields;
    });
    state.emit("charge.failed", &charge);
    state.emit("payment_intent.payment_failed", intent);
    let shown = state.read(intent);
    error.with("payment_intent", shown)
}

fn insert_charge(state: &mut State, intent: &str, method: &str, failure: Option<&str>) -> String {
    let id = state.id("ch");
    let intent = state.read(intent);
    let card = state.read(method)["card"].clone();
    let amount = int(&intent, "amount");
    let paid = failure.is_none();
    let transaction =
        paid.then(|| balance_transaction(state, &id, amount, text(&intent, "currency"), "charge"));
    let outcome = if paid {
        json!({ "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 20,
            "seller_message": "Payment complete.", "type": "authorized" })
    } else {
        json!({ "advice_code": "try_again_later", "network_advice_code": null, "network_decline_code": "01",
            "network_status": "declined_by_network", "reason": "generic_decline", "risk_level": "normal",
            "risk_score": 20, "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined" })
    };
    let charge = json!({
        "id": id, "object": "charge", "amount": amount, "amount_captured": if paid { amount } else { 0 },
        "amount_refunded": 0, "application": null, "application_fee": null, "application_fee_amount": null,
        "balance_transaction": transaction, "billing_details": methods::billing_details(),
        "calculated_statement_descriptor": "FAKE STRIPE", "captured": paid, "created": state.now(),
        "currency": intent["currency"], "customer": intent["customer"], "description": intent["description"],
        "destination": null, "dispute": null, "disputed": false, "failure_balance_transaction": null,
        "failure_code": failure, "failure_message": failure.map(|_| "Your card was declined."), "fraud_details": {},
        "livemode": state.livemode, "metadata": intent["metadata"], "on_behalf_of": null, "order": null,
        "outcome": outcome, "paid": paid, "payment_intent": intent["id"], "payment_method": method,
        "payment_method_details": { "type": "card", "card": {
            "amount_authorized": amount, "authorization_code": null, "brand": card["brand"], "checks": card["checks"],
            "country": card["country"], "exp_month": card["exp_month"], "exp_year": card["exp_year"],
            "extended_authorization": { "status": "disabled" }, "fingerprint": card["fingerprint"],
            "funding": card["funding"], "incremental_authorization": { "status": "unavailable" },
            "installments": null, "last4": card["last4"], "mandate": null, "multicapture": { "status": "unavailable" },
            "network": card["brand"], "network_token": { "used": false }, "network_transaction_id": null,
            "overcapture": { "maximum_amount_capturable": amount, "status": "unavailable" },
            "regulated_status": "unregulated", "three_d_secure": null, "wallet": null,
        } },
        "radar_options": {}, "receipt_email": null, "receipt_number": null,
        "receipt_url": paid.then(|| format!("{}/receipts/{id}", state.url)), "refunded": false, "review": null,
        "shipping": null, "source": null, "source_transfer": null, "statement_descriptor": null,
        "statement_descriptor_suffix": null, "status": if paid { "succeeded" } else { "failed" },
        "transfer_data": null, "transfer_group": null,
    });
    state.insert(charge)
}

/// Stores the balance transaction of a charge or refund and returns its id.
pub(super) fn balance_transaction(
    state: &mut State,
    source: &str,
    amount: i64,
    currency: &str,
    kind: &str,
) -> String {
    let id = state.id("txn");
    let now = state.now();
    state.insert(json!({
        "id": id, "object": "balance_transaction", "amount": amount, "available_on": now, "balance_type": "payments",
        "created": now, "currency": currency, "description": null, "exchange_rate": null, "fee": 0, "fee_details": [],
        "net": amount, "reporting_category": kind, "source": source, "status": "pending", "type": kind,
    }))
}

/// Carries the end of an intent's attempt over to the invoice that it pays.
pub(super) fn settle(state: &mut State, intent: &str, attempt: &Attempt) {
    let invoice = state
        .all("invoice_payment")
        .rfind(|payment| payment["payment"]["payment_intent"] == intent)
        .map(|payment| text(payment, "invoice").to_owned());
    let Some(invoice) = invoice.filter(|invoice| state.read(invoice)["status"] == "open") else {
        return;
    };
    match attempt {
        Attempt::Paid => invoices::mark_paid(state, &invoice),
        Attempt::NeedsAuthentication => invoices::action_required(state, &invoice),
        Attempt::Failed(_) => invoices::attempt_failed(state, &invoice),
    }
}
