//! API calls on invoices, their payments and invoice items.

use serde_json::{Value, json};

use super::{
    catalog::{self, NewPrice},
    customers, discounts,
    error::{Result, StripeError},
    form::Params,
    invoices::{self, NewInvoice},
    lines::{self, Line},
    list::{self, PAGING, field_is},
    methods,
    state::{State, text},
};

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("invoice", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!(
        "customer subscription status collection_method due_date.*{PAGING}"
    ))?;
    list::page(state, params, "invoice", "/v1/invoices", |value| {
        let subscription = &value["parent"]["subscription_details"]["subscription"];
        field_is(params, value, "customer")
            && field_is(params, value, "status")
            && params
                .filled("subscription")
                .is_none_or(|wanted| subscription == wanted)
    })
}

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("customer subscription description metadata.* auto_advance collection_method currency pending_invoice_items_behavior days_until_due discounts[].coupon discounts[].promotion_code")?;
    let customer = params.required("customer")?.to_owned();
    customers::living(state, &customer, "customer")?;
    let subscription = params.filled("subscription");
    if let Some(subscription) = subscription {
        state.find("subscription", subscription, "subscription")?;
    }
    let waiting = if params.filled("pending_invoice_items_behavior") == Some("include")
        || subscription.is_some()
    {
        lines::take_waiting(state, &customer, subscription)
    } else {
        Vec::new()
    };
    let reductions = discounts::read(state, params)?;
    let made = reductions
        .iter()
        .map(|reduction| discounts::apply(state, reduction, &customer, None, None))
        .collect();
    let now = state.now();
    let currency = state.read(&customer)["currency"]
        .as_str()
        .or(params.filled("currency"))
        .unwrap_or("usd")
        .to_owned();
    let advance = params.flag("auto_advance")?.unwrap_or(false);
    let id = invoices::draft(
        state,
        &NewInvoice {
            customer: &customer,
            subscription,
            reason: "manual",
            currency: &currency,
            period: (now, now),
            lines: waiting,
            discounts: made,
            finalizes_at: advance.then_some(now + 3600),
            metadata: params.metadata("metadata"),
        },
    );
    Ok(state.read(&id))
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("description metadata.* auto_advance footer default_payment_method")?;
    let invoice = state.find("invoice", id, "id")?.clone();
    let advance = params.flag("auto_advance")?;
    let method = match params.filled("default_payment_method") {
        Some(method) => Some(methods::resolve(
            state,
            method,
            invoice["customer"].as_str(),
            "default_payment_method",
        )?),
        None => None,
    };
    state.update(id, "invoice.updated", |invoice| {
        for field in ["description", "footer"] {
            customers::set_text(params, invoice, field, field);
        }
        if let Some(advance) = advance {
            invoice["auto_advance"] = json!(advance);
        }
        if let Some(method) = method {
            invoice["default_payment_method"] = json!(method);
        }
        params.merge_metadata("metadata", &mut invoice["metadata"]);
    });
    Ok(state.read(id))
}

pub(super) fn list_lines(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(PAGING)?;
    Ok(state.find("invoice", id, "id")?["lines"].clone())
}

pub(super) fn finalize(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("auto_advance")?;
    with_status(state, id, &["draft"])?;
    invoices::finalize(state, id);
    Ok(state.read(id))
}

pub(super) fn pay(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("payment_method off_session forgive paid_out_of_band")?;
    let invoice = with_status(state, id, &["draft", "open"])?.clone();
    let method = match params.filled("payment_method") {
        Some(method) => Some(methods::resolve(
            state,
            method,
            invoice["customer"].as_str(),
            "payment_method",
        )?),
        None => None,
    };
    invoices::finalize(state, id);
    if state.read(id)["status"] == "open" {
        if params.flag("paid_out_of_band")? == Some(true) {
            invoices::mark_paid(state, id);
        } else {
            invoices::collect(state, id, method)?;
        }
    }
    Ok(state.read(id))
}

pub(super) fn void(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    with_status(state, id, &["open", "uncollectible"])?;
    invoices::void(state, id);
    Ok(state.read(id))
}

pub(super) fn mark_uncollectible(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    with_status(state, id, &["open"])?;
    invoices::mark_uncollectible(state, id);
    Ok(state.read(id))
}

fn with_status<'a>(state: &'a State, id: &str, statuses: &[&str]) -> Result<&'a Value> {
    let invoice = state.find("invoice", id, "id")?;
    let status = text(invoice, "status");
    if statuses.contains(&status) {
        return Ok(invoice);
    }
    if status == "paid" {
        return Err(StripeError::invalid("Invoice is already paid").code("invoice_already_paid"));
    }
    Err(StripeError::invalid(format!(
        "This action is not allowed on an invoice that is {status}."
    ))
    .code("invoice_not_editable"))
}

pub(super) fn get_payment(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("invoice_payment", id, "id").cloned()
}

pub(super) fn list_payments(state: &mut State, params: &Params) -> Result {
    params.allow(&format!(
        "invoice status payment.type payment.payment_intent{PAGING}"
    ))?;
    list::page(
        state,
        params,
        "invoice_payment",
        "/v1/invoice_payments",
        |value| {
            field_is(params, value, "invoice")
                && field_is(params, value, "status")
                && params
                    .filled("payment.payment_intent")
                    .is_none_or(|intent| value["payment"]["payment_intent"] == intent)
        },
    )
}

pub(super) fn create_item(state: &mut State, params: &Params) -> Result {
    params.allow("customer invoice subscription amount currency description quantity metadata.* pricing.price discounts[].coupon discounts[].promotion_code discountable")?;
    let customer = params.required("customer")?.to_owned();
    customers::living(state, &customer, "customer")?;
    let price = match params.filled("pricing.price") {
        Some(price) => state.find("price", price, "pricing[price]")?.clone(),
        None => Value::Null,
    };
    let quantity = params.int("quantity")?.unwrap_or(1);
    let (price, amount) = if price.is_null() {
        let amount = params.required_int("amount")?;
        (inline_price(state, params, amount), amount)
    } else {
        let amount = catalog::amount_of(&price, quantity);
        (price, amount)
    };
    let now = state.now();
    let line = Line {
        price,
        subscription: params.filled("subscription").map(Into::into),
        item: None,
        invoice_item: None,
        discounts: Vec::new(),
        quantity,
        amount,
        currency: params.filled("currency").unwrap_or("usd").into(),
        period: (now, now),
        proration: false,
        description: params.filled("description").unwrap_or_default().into(),
    };
    let invoice = params.filled("invoice").map(str::to_owned);
    if let Some(invoice) = &invoice {
        with_status(state, invoice, &["draft"])?;
    }
    let reductions = discounts::read(state, params)?;
    let id = line.wait(state, &customer);
    state.edit(&id, |item| item["metadata"] = params.metadata("metadata"));
    if let Some(invoice) = &invoice {
        let made: Vec<String> = reductions
            .iter()
            .map(|reduction| discounts::apply(state, reduction, &customer, None, None))
            .collect();
        state.edit(&id, |item| {
            item["invoice"] = json!(invoice);
            item["discounts"] = json!(made);
        });
        let item = state.read(&id);
        let line = lines::of_item(state, &item);
        invoices::add_lines(state, invoice, &[line]);
    }
    Ok(state.read(&id))
}

/// The inactive price that stands for an amount.
fn inline_price(state: &mut State, params: &Params, amount: i64) -> Value {
    let product = state.id("prod");
    let name = params.filled("description").unwrap_or("Invoice item");
    let mut value = catalog::product_value(&product, name, state.now(), state.livemode);
    value["active"] = json!(false);
    state.insert(value);
    let id = state.id("price");
    let new = NewPrice {
        id: &id,
        product: &product,
        currency: params.filled("currency").unwrap_or("usd"),
        amount: Some(amount),
        amount_decimal: None,
        recurring: Value::Null,
    };
    let mut price = catalog::price_value(state, &new);
    price["active"] = json!(false);
    state.insert(price.clone());
    price
}
