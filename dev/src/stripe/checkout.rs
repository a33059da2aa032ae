//! Checkout sessions: a subscription or a payment begins once the session is paid.

use serde_json::{Value, json};

use super::{
    catalog, customers,
    cycles::money,
    discounts::{self, Reduction},
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    state::{State, int, sublist, text},
};

const DAY: i64 = 86_400;

const CREATE: &str = "mode customer customer_email client_reference_id success_url cancel_url return_url line_items[].price \
    line_items[].quantity line_items[].price_data.* line_items[].adjustable_quantity.* subscription_data.metadata.* \
    subscription_data.trial_period_days subscription_data.trial_end subscription_data.description \
    subscription_data.trial_settings.end_behavior.missing_payment_method payment_intent_data.metadata.* \
    payment_intent_data.description allow_promotion_codes discounts[].coupon discounts[].promotion_code automatic_tax.enabled \
    tax_id_collection.enabled customer_update.address customer_update.name customer_update.shipping metadata.* expires_at \
    payment_method_collection billing_address_collection locale currency customer_creation consent_collection.* ui_mode \
    submit_type custom_text.* saved_payment_method_options.* phone_number_collection.enabled adaptive_pricing.enabled";

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow(CREATE)?;
    let mode = params
        .choice("mode", &["payment", "setup", "subscription"])?
        .ok_or_else(|| StripeError::parameter_missing("mode"))?;
    params.required("success_url")?;
    if let Some(customer) = params.filled("customer") {
        customers::living(state, customer, "customer")?;
    }
    let id = state.id(if state.livemode { "cs_live" } else { "cs_test" });
    let lines = read_lines(state, params, mode)?;
    if lines.is_empty() && mode != "setup" {
        return Err(StripeError::parameter_missing("line_items"));
    }
    let reductions = discounts::read(state, params)?;
    let allow_codes = params.flag("allow_promotion_codes")?;
    if allow_codes == Some(true) && !reductions.is_empty() {
        return Err(StripeError::invalid(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
        ));
    }
    if params.flag("automatic_tax.enabled")? == Some(true)
        && params.has("customer")
        && !params.has("customer_update.address")
        && state.read(params.required("customer")?)["address"].is_null()
    {
        return Err(StripeError::invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the \
             Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' to save the \
             address entered in Checkout to the Customer.",
        )
        .code("customer_tax_location_invalid"));
    }
    let now = state.now();
    let expires_at = params.int("expires_at")?.unwrap_or(now + DAY);
    if !(now + 1800 - 60..=now + DAY + 60).contains(&expires_at) {
        return Err(StripeError::invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
        )
        .param("expires_at"));
    }
    let trial = trial_end(params, now)?;
    let session = session_value(state, params, &id, mode, &lines, allow_codes, expires_at)?;
    let hidden = json!({
        "line_items": lines, "subscription_data": params.tree().get("subscription_data"),
        "saves_address": params.filled("customer_update.address") == Some("auto"),
        "payment_intent_data": params.tree().get("payment_intent_data"),
        "trial_days": params.int("subscription_data.trial_period_days")?, "trial_end": trial,
    });
    state.insert_with(session, hidden);
    price_session(state, &id, &reductions);
    Ok(state.read(&id))
}

fn trial_end(params: &Params, now: i64) -> Result<Option<i64>> {
    if let Some(days) = params.int("subscription_data.trial_period_days")?
        && days < 1
    {
        return Err(
            StripeError::invalid("The minimum number of trial period days is 1.")
                .param("subscription_data[trial_period_days]"),
        );
    }
    let end = params.int("subscription_data.trial_end")?;
    if end.is_some_and(|end| end < now + 2 * DAY) {
        return Err(StripeError::invalid(
            "The `trial_end` date has to be at least 2 days in the future.",
        )
        .param("subscription_data[trial_end]"));
    }
    Ok(end)
}

/// The line items of a session, as `line_items` shows them.
fn read_lines(state: &mut State, params: &Params, mode: &str) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    for line in params.list("line_items") {
        let price = if line.has("price_data") {
            inline_price(state, &line)?
        } else {
            catalog::for_sale(state, line.required("price")?, &line.name("price"))?.clone()
        };
        if mode == "subscription" && price["type"] != "recurring" {
            return Err(StripeError::invalid(
                "The fake sells no one-time prices beside a subscription.",
            )
            .param(line.name("price")));
        }
        if mode == "payment" && price["type"] == "recurring" {
            return Err(StripeError::invalid(
                "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only \
                 one-time prices.",
            )
            .param("mode"));
        }
        if catalog::is_metered(&price) && line.has("quantity") {
            return Err(StripeError::invalid(format!(
                "Quantity should not be specified where usage_type is `metered`. Remove quantity from {}",
                line.name("quantity")
            ))
            .param(line.name("quantity")));
        }
        let quantity = line.int("quantity")?.unwrap_or(1);
        let amount = if catalog::is_metered(&price) {
            0
        } else {
            catalog::amount_of(&price, quantity)
        };
        let name = text(&state.read(text(&price, "product")), "name").to_owned();
        lines.push(json!({
            "id": state.id("li"), "object": "item", "amount_discount": 0, "amount_subtotal": amount, "amount_tax": 0,
            "amount_total": amount, "currency": price["currency"], "description": name, "price": price,
            "quantity": (!catalog::is_metered(&price)).then_some(quantity),
        }));
    }
    Ok(lines)
}

fn inline_price(state: &mut State, line: &Params) -> Result {
    let currency = line.required("price_data.currency")?;
    let amount = line.required_int("price_data.unit_amount")?;
    let product = if let Some(product) = line.filled("price_data.product") {
        state.find("product", product, &line.name("price_data.product"))?;
        product.to_owned()
    } else {
        let id = state.id("prod");
        let name = line.required("price_data.product_data.name")?;
        let product = catalog::product_value(&id, name, state.now(), state.livemode);
        state.insert(product)
    };
    let recurring = match line.filled("price_data.recurring.interval") {
        Some(interval) => catalog::recurring(interval, 1, None),
        None => Value::Null,
    };
    let id = state.id("price");
    let price = catalog::price_value(
        state,
        &catalog::NewPrice {
            id: &id,
            product: &product,
            currency,
            amount: Some(amount),
            amount_decimal: None,
            recurring,
        },
    );
    state.insert(price.clone());
    Ok(price)
}

fn session_value(
    state: &State,
    params: &Params,
    id: &str,
    mode: &str,
    lines: &[Value],
    allow_codes: Option<bool>,
    expires_at: i64,
) -> Result {
    let customer = params.filled("customer").map(|id| state.read(id));
    let email = customer.as_ref().map_or_else(
        || json!(params.filled("customer_email")),
        |customer| customer["email"].clone(),
    );
    let details = if email.is_null() {
        Value::Null
    } else {
        json!({ "address": null, "business_name": null, "email": email, "individual_name": null, "name": null,
            "phone": null, "tax_exempt": "none", "tax_ids": null })
    };
    let tax = params.flag("automatic_tax.enabled")?.unwrap_or(false);
    let subscribes = mode == "subscription";
    let currency = lines.first().map(|line| line["currency"].clone());
    let collection = params.choice("payment_method_collection", &["always", "if_required"])?;
    let creation = match (params.has("customer"), mode) {
        (true, _) => None,
        (false, "payment") => Some(params.filled("customer_creation").unwrap_or("if_required")),
        _ => Some("always"),
    };
    let mut session = json!({
        "id": id, "object": "checkout.session", "adaptive_pricing": { "enabled": false }, "after_expiration": null,
        "allow_promotion_codes": allow_codes, "allowed_payment_method_types": null, "amount_subtotal": null,
        "amount_total": null,
        "automatic_tax": { "enabled": tax, "liability": tax.then(|| json!({ "type": "self" })),
            "provider": tax.then_some("stripe"), "status": tax.then_some("requires_location_inputs") },
        "billing_address_collection": params.filled("billing_address_collection"), "branding_settings": {
            "background_color": "#ffffff", "border_style": "rounded", "button_color": "#0074d4",
            "display_name": "Fake Stripe", "font_family": "default", "icon": null, "logo": null },
        "cancel_url": params.filled("cancel_url"), "client_reference_id": params.filled("client_reference_id"),
        "client_secret": null,
        "collected_information": { "business_name": null, "individual_name": null, "shipping_details": null },
        "consent": null, "consent_collection": null, "created": state.now(), "currency": currency,
        "currency_conversion": null, "custom_fields": [],
        "custom_text": { "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null },
        "customer": params.filled("customer"), "customer_account": null, "customer_creation": creation,
        "customer_details": details, "customer_email": params.filled("customer_email"), "discounts": [],
        "expires_at": expires_at, "integration_identifier": null, "invoice": null,
        "invoice_creation": if mode == "payment" { json!({ "enabled": false, "invoice_data": {
            "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null, "issuer": null,
            "metadata": {}, "rendering_options": null } }) } else { Value::Null },
        "livemode": state.livemode, "locale": params.filled("locale"), "managed_payments": null,
        "metadata": params.metadata("metadata"), "mode": mode, "origin_context": null, "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": if subscribes { Some(collection.unwrap_or("always")) } else { Some("if_required") },
        "payment_method_configuration_details": { "id": format!("pmc_{}", state.salt()), "parent": null },
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "payment_method_types": ["card"], "payment_status": if mode == "setup" { "no_payment_required" } else { "unpaid" },
        "permissions": null, "phone_number_collection": { "enabled": false }, "recovered_from": null,
        "saved_payment_method_options": customer.is_some().then(|| json!({ "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled", "payment_method_save": null })),
        "setup_intent": null, "shipping_address_collection": null, "shipping_cost": null, "shipping_options": [],
        "status": "open", "submit_type": params.filled("submit_type"), "subscription": null,
        "success_url": params.filled("success_url"),
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 }, "ui_mode": "hosted_page",
        "url": format!("{}/c/pay/{id}", state.url), "wallet_options": null,
    });
    if let Some(enabled) = params.flag("tax_id_collection.enabled")? {
        session["tax_id_collection"] = json!({ "enabled": enabled, "required": "never" });
    }
    Ok(session)
}

/// Sets the reductions of an open session and computes its totals.
pub(super) fn price_session(state: &mut State, id: &str, reductions: &[Reduction]) {
    let lines = state.hidden(id)["line_items"].clone();
    let subtotal: i64 = lines
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| int(line, "amount_subtotal"))
        .sum();
    let mut left = subtotal;
    for reduction in reductions {
        left -= discounts::coupon_amount(&state.read(&reduction.coupon), left);
    }
    // A trial costs nothing today.
    let trial = state.hidden(id)["trial_days"].is_i64() || state.hidden(id)["trial_end"].is_i64();
    let (subtotal, total) = if trial { (0, 0) } else { (subtotal, left) };
    let discounts: Vec<Value> = reductions
        .iter()
        .map(|reduction| match &reduction.code {
            Some(code) => json!({ "coupon": null, "promotion_code": code }),
            None => json!({ "coupon": reduction.coupon, "promotion_code": null }),
        })
        .collect();
    let priced = lines.as_array().is_some_and(|lines| !lines.is_empty());
    state.edit(id, |session| {
        session["discounts"] = json!(discounts);
        session["amount_subtotal"] = json!(priced.then_some(subtotal));
        session["amount_total"] = json!(priced.then_some(total));
        session["total_details"]["amount_discount"] = json!(subtotal - total);
    });
}

/// The reductions of a session.
pub(super) fn reductions_of(state: &State, session: &Value) -> Vec<Reduction> {
    let of = |entry: &Value| match entry["promotion_code"].as_str() {
        Some(code) => Reduction {
            coupon: text(&state.read(code)["promotion"], "coupon").into(),
            code: Some(code.into()),
        },
        None => Reduction {
            coupon: text(entry, "coupon").into(),
            code: None,
        },
    };
    session["discounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(of)
        .collect()
}

/// Applies the promotion code that a customer typed.
pub(super) fn apply_code(state: &mut State, id: &str, code: &str) -> Result {
    let session = open(state, id)?.clone();
    if session["allow_promotion_codes"] != true {
        return Err(StripeError::invalid(
            "This session takes no promotion codes.",
        ));
    }
    let Some(reduction) = discounts::redeem(state, code) else {
        return Err(StripeError::invalid("This code is invalid.").code("promotion_code_invalid"));
    };
    price_session(state, id, &[reduction]);
    Ok(state.read(id))
}

/// An open session, or why it cannot be paid.
pub(super) fn open<'a>(state: &'a State, id: &str) -> Result<&'a Value> {
    let session = state.find("checkout.session", id, "id")?;
    if session["status"] == "open" {
        return Ok(session);
    }
    Err(StripeError::invalid(format!(
        "Only Checkout Sessions with a status in [\"open\"] can be used. This Checkout Session has a status of {}.",
        text(session, "status")
    )))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("checkout.session", id, "id").cloned()
}

pub(super) fn line_items(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(PAGING)?;
    state.find("checkout.session", id, "id")?;
    let lines = state.hidden(id)["line_items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(sublist(
        &lines,
        &format!("/v1/checkout/sessions/{id}/line_items"),
    ))
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!(
        "customer status subscription payment_intent customer_details.email{PAGING}"
    ))?;
    list::page(
        state,
        params,
        "checkout.session",
        "/v1/checkout/sessions",
        |value| {
            ["customer", "status", "subscription", "payment_intent"]
                .iter()
                .all(|field| field_is(params, value, field))
        },
    )
}

pub(super) fn expire_call(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    open(state, id)?;
    expire(state, id);
    Ok(state.read(id))
}

pub(super) fn expire(state: &mut State, id: &str) {
    state.edit(id, |session| {
        session["status"] = json!("expired");
        session["url"] = Value::Null;
    });
    state.emit("checkout.session.expired", id);
}

/// The amount due today, in words.
pub(super) fn due_text(session: &Value) -> String {
    format!(
        "{} {}",
        money(int(session, "amount_total")),
        text(session, "currency").to_uppercase()
    )
}
