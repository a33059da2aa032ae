//! Products and prices.

use serde_json::{Value, json};

use super::{
    customers::set_text,
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    state::{State, text},
};

pub(super) fn product_value(id: &str, name: &str, now: i64, livemode: bool) -> Value {
    json!({
        "id": id, "object": "product", "active": true, "created": now, "default_price": null, "description": null,
        "images": [], "livemode": livemode, "marketing_features": [], "metadata": {}, "name": name,
        "package_dimensions": null, "shippable": null, "statement_descriptor": null, "tax_code": null, "tax_details": null,
        "type": "service", "unit_label": null, "updated": now, "url": null,
    })
}

pub(super) fn create_product(state: &mut State, params: &Params) -> Result {
    params.allow("id name description active metadata.* images[] url unit_label statement_descriptor tax_code shippable default_price_data.* type marketing_features[].name")?;
    let name = params.required("name")?;
    let id = match params.filled("id") {
        Some(id) if state.get(id).is_some() => return Err(exists("product", id)),
        Some(id) => id.to_owned(),
        None => state.id("prod"),
    };
    let mut product = product_value(&id, name, state.now(), state.livemode);
    fill_product(params, &mut product)?;
    state.insert(product);
    state.emit("product.created", &id);
    Ok(state.read(&id))
}

pub(super) fn exists(kind: &str, id: &str) -> StripeError {
    StripeError::invalid(format!("{kind} already exists: {id}"))
        .code("resource_already_exists")
        .param("id")
}

fn fill_product(params: &Params, product: &mut Value) -> Result<()> {
    for field in [
        "name",
        "description",
        "url",
        "unit_label",
        "statement_descriptor",
        "tax_code",
        "default_price",
    ] {
        set_text(params, product, field, field);
    }
    if let Some(active) = params.flag("active")? {
        product["active"] = json!(active);
    }
    if params.has("images") {
        product["images"] = json!(params.texts("images"));
    }
    params.merge_metadata("metadata", &mut product["metadata"]);
    Ok(())
}

pub(super) fn update_product(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("name description active metadata.* images[] url unit_label statement_descriptor tax_code shippable default_price marketing_features[].name")?;
    let mut product = state.find("product", id, "id")?.clone();
    fill_product(params, &mut product)?;
    product["updated"] = json!(state.now());
    state.update(id, "product.updated", |value| *value = product);
    Ok(state.read(id))
}

pub(super) fn delete_product(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("product", id, "id")?;
    if state.all("price").any(|price| price["product"] == id) {
        return Err(StripeError::invalid(
            "This product cannot be deleted because it has one or more user-created prices.",
        ));
    }
    state.emit("product.deleted", id);
    state.remove(id);
    Ok(json!({ "id": id, "object": "product", "deleted": true }))
}

pub(super) fn list_products(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("active ids[] url shippable{PAGING}"))?;
    let ids = params.texts("ids");
    list::page(state, params, "product", "/v1/products", |value| {
        field_is(params, value, "active")
            && (ids.is_empty() || ids.iter().any(|id| value["id"] == *id))
    })
}

/// `recurring` of a price.
pub(super) fn recurring(interval: &str, count: i64, meter: Option<&str>) -> Value {
    json!({
        "interval": interval, "interval_count": count, "meter": meter, "trial_period_days": null,
        "usage_type": if meter.is_some() { "metered" } else { "licensed" },
    })
}

pub(super) struct NewPrice<'a> {
    pub(super) id: &'a str,
    pub(super) product: &'a str,
    pub(super) currency: &'a str,
    pub(super) amount: Option<i64>,
    pub(super) amount_decimal: Option<&'a str>,
    pub(super) recurring: Value,
}

pub(super) fn price_value(state: &State, new: &NewPrice<'_>) -> Value {
    let decimal = new
        .amount_decimal
        .map(str::to_owned)
        .or(new.amount.map(|amount| amount.to_string()));
    json!({
        "id": new.id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": state.now(),
        "currency": new.currency, "custom_unit_amount": null, "livemode": state.livemode, "lookup_key": null,
        "metadata": {}, "nickname": null, "product": new.product,
        "type": if new.recurring.is_null() { "one_time" } else { "recurring" }, "recurring": new.recurring,
        "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null,
        "unit_amount": new.amount, "unit_amount_decimal": decimal,
    })
}

pub(super) fn create_price(state: &mut State, params: &Params) -> Result {
    params.allow("currency unit_amount unit_amount_decimal product product_data.name product_data.metadata.* recurring.interval recurring.interval_count recurring.usage_type recurring.meter recurring.trial_period_days metadata.* nickname active lookup_key transfer_lookup_key tax_behavior billing_scheme")?;
    let currency = params.required("currency")?.to_lowercase();
    let amount = params.int("unit_amount")?;
    let decimal = params.filled("unit_amount_decimal");
    if amount.is_none() && decimal.is_none() {
        return Err(StripeError::parameter_missing("unit_amount"));
    }
    let product = if let Some(name) = params.filled("product_data.name") {
        let id = state.id("prod");
        let product = product_value(&id, name, state.now(), state.livemode);
        state.insert(product);
        state.emit("product.created", &id);
        id
    } else {
        let product = params.required("product")?;
        text(state.find("product", product, "product")?, "id").to_owned()
    };
    let recurring = if params.has("recurring") {
        let interval = params
            .choice("recurring.interval", &["day", "week", "month", "year"])?
            .ok_or_else(|| StripeError::parameter_missing("recurring[interval]"))?;
        if let Some(meter) = params.filled("recurring.meter") {
            state.find("billing.meter", meter, "recurring[meter]")?;
        }
        let count = params.int("recurring.interval_count")?.unwrap_or(1);
        recurring(interval, count, params.filled("recurring.meter"))
    } else {
        Value::Null
    };
    let id = state.id("price");
    let new = NewPrice {
        id: &id,
        product: &product,
        currency: &currency,
        amount,
        amount_decimal: decimal,
        recurring,
    };
    let mut price = price_value(state, &new);
    fill_price(state, params, &mut price)?;
    state.insert(price);
    state.emit("price.created", &id);
    Ok(state.read(&id))
}

fn fill_price(state: &mut State, params: &Params, price: &mut Value) -> Result<()> {
    for field in ["nickname", "lookup_key"] {
        set_text(params, price, field, field);
    }
    if let Some(behavior) =
        params.choice("tax_behavior", &["exclusive", "inclusive", "unspecified"])?
    {
        price["tax_behavior"] = json!(behavior);
    }
    if let Some(active) = params.flag("active")? {
        price["active"] = json!(active);
    }
    if let Some(key) = params.filled("lookup_key") {
        for other in state.ids_where("price", |other| {
            other["lookup_key"] == key && other["id"] != price["id"]
        }) {
            if params.flag("transfer_lookup_key")? != Some(true) {
                return Err(StripeError::invalid(format!(
                    "A price (`{other}`) already uses that lookup key."
                ))
                .param("lookup_key"));
            }
            state.update(&other, "price.updated", |other| {
                other["lookup_key"] = Value::Null;
            });
        }
    }
    params.merge_metadata("metadata", &mut price["metadata"]);
    Ok(())
}

pub(super) fn update_price(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("active metadata.* nickname lookup_key transfer_lookup_key tax_behavior")?;
    let mut price = state.find("price", id, "id")?.clone();
    fill_price(state, params, &mut price)?;
    state.update(id, "price.updated", |value| *value = price);
    Ok(state.read(id))
}

pub(super) fn list_prices(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("active product currency type lookup_keys[] recurring.interval recurring.usage_type recurring.meter{PAGING}"))?;
    let keys = params.texts("lookup_keys");
    list::page(state, params, "price", "/v1/prices", |value| {
        ["active", "product", "currency", "type"]
            .iter()
            .all(|field| field_is(params, value, field))
            && (keys.is_empty() || keys.iter().any(|key| value["lookup_key"] == *key))
            && params
                .filled("recurring.interval")
                .is_none_or(|interval| value["recurring"]["interval"] == interval)
    })
}

/// `plan` of a subscription item, which mirrors its price.
pub(super) fn plan_of(price: &Value) -> Value {
    json!({
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": price["billing_scheme"],
        "created": price["created"], "currency": price["currency"], "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"], "livemode": price["livemode"],
        "metadata": price["metadata"], "meter": price["recurring"]["meter"], "nickname": price["nickname"],
        "product": price["product"], "tiers_mode": null, "transform_usage": null, "trial_period_days": null,
        "usage_type": price["recurring"]["usage_type"],
    })
}

/// The amount of a quantity, in the currency's minor unit.
pub(super) fn amount_of(price: &Value, quantity: i64) -> i64 {
    if let Some(amount) = price["unit_amount"].as_i64() {
        return amount * quantity;
    }
    // Thousandths of the minor unit keep the rounding in integers.
    let decimal = text(price, "unit_amount_decimal");
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let fraction: String = format!("{fraction}000000").chars().take(6).collect();
    let millionths =
        whole.parse::<i64>().unwrap_or(0) * 1_000_000 + fraction.parse::<i64>().unwrap_or(0);
    (millionths * quantity + 500_000).div_euclid(1_000_000)
}

/// True for a price whose quantity is counted by a meter.
pub(super) fn is_metered(price: &Value) -> bool {
    price["recurring"]["usage_type"] == "metered"
}

/// A price that may be sold.
pub(super) fn for_sale<'a>(state: &'a State, id: &str, param: &str) -> Result<&'a Value> {
    let price = state.find("price", id, param)?;
    if price["active"] != true {
        return Err(StripeError::invalid(
            "The price specified is inactive. This field only accepts active prices.",
        )
        .code("price_inactive")
        .param(param));
    }
    Ok(price)
}
