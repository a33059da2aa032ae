//! Customers.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    methods,
    state::{State, text},
    subscriptions,
};

const FIELDS: &str = "email name phone description metadata.* address.* shipping.* tax_exempt preferred_locales[] \
    invoice_settings.default_payment_method invoice_settings.footer invoice_settings.custom_fields balance payment_method \
    test_clock tax.ip_address tax.validate_location source invoice_prefix";

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow(FIELDS)?;
    let id = state.id("cus");
    let now = state.now();
    let prefix: String = id.chars().rev().take(8).collect::<String>().to_uppercase();
    let customer = json!({
        "id": id, "object": "customer", "address": null, "balance": 0, "created": now, "currency": null,
        "customer_account": null, "default_source": null, "delinquent": false, "description": null, "discount": null,
        "email": null, "invoice_prefix": prefix,
        "invoice_settings": { "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null },
        "livemode": state.livemode, "metadata": {}, "name": null, "next_invoice_sequence": 1, "phone": null,
        "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": null,
    });
    state.insert(customer);
    let filled = fill(state, params, &id);
    if let Err(error) = filled {
        state.remove(&id);
        return Err(error);
    }
    state.emit("customer.created", &id);
    Ok(state.read(&id))
}

fn fill(state: &mut State, params: &Params, id: &str) -> Result<()> {
    if let Some(email) = params.filled("email")
        && !email.contains('@')
    {
        return Err(
            StripeError::invalid(format!("Invalid email address: {email}"))
                .code("email_invalid")
                .param("email"),
        );
    }
    if let Some(method) = params.filled("payment_method") {
        methods::attach_to(state, method, id)?;
    }
    let mut default = None;
    if let Some(method) = params.text("invoice_settings.default_payment_method") {
        default = Some(if method.is_empty() {
            Value::Null
        } else {
            let param = "invoice_settings[default_payment_method]";
            let method = methods::resolve(state, method, Some(id), param)?;
            if state.read(&method)["customer"] != id {
                return Err(StripeError::invalid(format!(
                    "The customer does not have a payment method with the ID {method}. The payment method must be attached \
                     to the customer."
                ))
                .code("resource_missing")
                .param(param));
            }
            json!(method)
        });
    }
    let balance = params.int("balance")?;
    let locales = params
        .has("preferred_locales")
        .then(|| params.texts("preferred_locales"));
    state.edit(id, |customer| {
        for field in ["email", "name", "phone", "description"] {
            set_text(params, customer, field, field);
        }
        if let Some(exempt) = params.filled("tax_exempt") {
            customer["tax_exempt"] = json!(exempt);
        }
        for field in ["address", "shipping"] {
            if params.has(field) {
                customer[field] = address(params, field);
            }
        }
        params.merge_metadata("metadata", &mut customer["metadata"]);
        if let Some(method) = default {
            customer["invoice_settings"]["default_payment_method"] = method;
        }
        if let Some(balance) = balance {
            customer["balance"] = json!(balance);
        }
        if let Some(locales) = locales {
            customer["preferred_locales"] = json!(locales);
        }
    });
    Ok(())
}

fn address(params: &Params, field: &str) -> Value {
    if params.text(field) == Some("") {
        return Value::Null;
    }
    if field == "shipping" {
        return json!({
            "address": postal(params, "shipping.address"),
            "name": params.filled("shipping.name"), "phone": params.filled("shipping.phone"),
        });
    }
    postal(params, field)
}

fn postal(params: &Params, field: &str) -> Value {
    let part = |name: &str| params.filled(&format!("{field}.{name}"));
    json!({
        "city": part("city"), "country": part("country"), "line1": part("line1"), "line2": part("line2"),
        "postal_code": part("postal_code"), "state": part("state"),
    })
}

/// Sets a text field where the parameter is given; null where it is empty.
pub(super) fn set_text(params: &Params, value: &mut Value, param: &str, field: &str) {
    match params.text(param) {
        None => {}
        Some("") => value[field] = Value::Null,
        Some(text) => value[field] = json!(text),
    }
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    if state.hidden(id)["deleted"] == true {
        return Ok(json!({ "id": id, "object": "customer", "deleted": true }));
    }
    state.find("customer", id, "id").cloned()
}

/// A customer who exists and is not deleted.
pub(super) fn living<'a>(state: &'a State, id: &str, param: &str) -> Result<&'a Value> {
    let customer = state.find("customer", id, param)?;
    if state.hidden(id)["deleted"] == true {
        return Err(StripeError::missing("customer", id, param));
    }
    Ok(customer)
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(FIELDS)?;
    living(state, id, "id")?;
    let before = state.read(id);
    fill(state, params, id)?;
    let after = state.read(id);
    state.edit(id, |customer| *customer = before);
    state.update(id, "customer.updated", |customer| *customer = after);
    Ok(state.read(id))
}

pub(super) fn delete(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    living(state, id, "id")?;
    for subscription in state.ids_where("subscription", |value| value["customer"] == id) {
        subscriptions::end(state, &subscription, "cancellation_requested");
    }
    state.hide(id, "deleted", json!(true));
    state.emit("customer.deleted", id);
    Ok(json!({ "id": id, "object": "customer", "deleted": true }))
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("email test_clock{PAGING}"))?;
    let alive = |value: &Value| state.hidden(text(value, "id"))["deleted"] != true;
    list::page(state, params, "customer", "/v1/customers", |value| {
        field_is(params, value, "email") && alive(value)
    })
}
