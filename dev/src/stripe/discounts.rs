//! Coupons, promotion codes and the discounts made of them.

use serde_json::{Value, json};

use super::{
    catalog::exists,
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    periods,
    state::{State, int, text},
};

pub(super) fn create_coupon(state: &mut State, params: &Params) -> Result {
    params.allow("id name percent_off amount_off currency duration duration_in_months max_redemptions redeem_by metadata.* applies_to.products[]")?;
    let percent = params.filled("percent_off").map(|text| {
        text.parse::<f64>()
            .ok()
            .filter(|percent| *percent > 0.0 && *percent <= 100.0)
            .ok_or_else(|| {
                StripeError::invalid("Invalid percent_off: must be between 0 and 100.")
                    .param("percent_off")
            })
    });
    let percent = percent.transpose()?;
    let amount = params.int("amount_off")?;
    if percent.is_some() == amount.is_some() {
        return Err(StripeError::invalid(
            "You must pass exactly one of percent_off or amount_off.",
        )
        .param("percent_off"));
    }
    if amount.is_some() {
        params.required("currency")?;
    }
    let duration = params
        .choice("duration", &["once", "repeating", "forever"])?
        .unwrap_or("once");
    let id = match params.filled("id") {
        Some(id) if state.get(id).is_some() => return Err(exists("Coupon", id)),
        Some(id) => id.to_owned(),
        None => state.id("coupon").trim_start_matches("coupon_").to_owned(),
    };
    let coupon = json!({
        "id": id, "object": "coupon", "amount_off": amount, "created": state.now(),
        "currency": params.filled("currency"), "duration": duration,
        "duration_in_months": params.int("duration_in_months")?, "livemode": state.livemode,
        "max_redemptions": params.int("max_redemptions")?, "metadata": params.metadata("metadata"),
        "name": params.filled("name"), "percent_off": percent, "redeem_by": params.int("redeem_by")?,
        "times_redeemed": 0, "valid": true,
    });
    state.insert(coupon);
    state.emit("coupon.created", &id);
    Ok(state.read(&id))
}

pub(super) fn delete_coupon(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("coupon", id, "id")?;
    state.emit("coupon.deleted", id);
    state.edit(id, |coupon| coupon["valid"] = json!(false));
    Ok(json!({ "id": id, "object": "coupon", "deleted": true }))
}

pub(super) fn list_coupons(state: &mut State, params: &Params) -> Result {
    params.allow(PAGING)?;
    list::page(state, params, "coupon", "/v1/coupons", |coupon| {
        coupon["valid"] == true
    })
}

pub(super) fn create_code(state: &mut State, params: &Params) -> Result {
    params.allow("promotion.type promotion.coupon code active customer expires_at max_redemptions metadata.* restrictions.first_time_transaction restrictions.minimum_amount restrictions.minimum_amount_currency")?;
    let coupon = params.required("promotion.coupon")?;
    state.find("coupon", coupon, "promotion[coupon]")?;
    let id = state.id("promo");
    let code = params
        .filled("code")
        .map_or_else(|| id.to_uppercase()[6..].to_owned(), str::to_owned);
    let taken = state
        .all("promotion_code")
        .any(|other| other["active"] == true && text(other, "code").eq_ignore_ascii_case(&code));
    if taken {
        return Err(StripeError::invalid(format!(
            "An active promotion code with `code: {code}` already exists."
        ))
        .param("code"));
    }
    let promotion = json!({
        "id": id, "object": "promotion_code", "active": params.flag("active")?.unwrap_or(true), "code": code,
        "created": state.now(), "customer": params.filled("customer"), "customer_account": null,
        "expires_at": params.int("expires_at")?, "livemode": state.livemode,
        "max_redemptions": params.int("max_redemptions")?, "metadata": params.metadata("metadata"),
        "promotion": { "coupon": coupon, "type": "coupon" },
        "restrictions": {
            "first_time_transaction": params.flag("restrictions.first_time_transaction")?.unwrap_or(false),
            "minimum_amount": params.int("restrictions.minimum_amount")?,
            "minimum_amount_currency": params.filled("restrictions.minimum_amount_currency"),
        },
        "times_redeemed": 0,
    });
    state.insert(promotion);
    state.emit("promotion_code.created", &id);
    Ok(state.read(&id))
}

pub(super) fn update_code(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("active metadata.*")?;
    state.find("promotion_code", id, "id")?;
    let active = params.flag("active")?;
    state.update(id, "promotion_code.updated", |code| {
        if let Some(active) = active {
            code["active"] = json!(active);
        }
        params.merge_metadata("metadata", &mut code["metadata"]);
    });
    Ok(state.read(id))
}

pub(super) fn list_codes(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("code active coupon customer{PAGING}"))?;
    list::page(
        state,
        params,
        "promotion_code",
        "/v1/promotion_codes",
        |value| {
            let same_code = params
                .filled("code")
                .is_none_or(|code| text(value, "code").eq_ignore_ascii_case(code));
            let same_coupon = params
                .filled("coupon")
                .is_none_or(|coupon| value["promotion"]["coupon"] == coupon);
            same_code
                && same_coupon
                && field_is(params, value, "active")
                && field_is(params, value, "customer")
        },
    )
}

/// A coupon, and the promotion code that led to it.
#[derive(Clone, Debug)]
pub(super) struct Reduction {
    pub(super) coupon: String,
    pub(super) code: Option<String>,
}

/// The reduction that a code typed by a customer gives.
pub(super) fn redeem(state: &State, code: &str) -> Option<Reduction> {
    let found = state.all("promotion_code").find(|value| {
        value["active"] == true && text(value, "code").eq_ignore_ascii_case(code.trim())
    })?;
    usable(state, found).then(|| Reduction {
        coupon: text(&found["promotion"], "coupon").into(),
        code: Some(text(found, "id").into()),
    })
}

fn usable(state: &State, code: &Value) -> bool {
    let expired = code["expires_at"]
        .as_i64()
        .is_some_and(|at| at <= state.now());
    let used_up = code["max_redemptions"]
        .as_i64()
        .is_some_and(|most| int(code, "times_redeemed") >= most);
    let coupon = state.read(text(&code["promotion"], "coupon"));
    code["active"] == true && !expired && !used_up && coupon["valid"] == true
}

/// The reductions of a `discounts` parameter.
pub(super) fn read(state: &State, params: &Params) -> Result<Vec<Reduction>> {
    let mut reductions = Vec::new();
    for entry in params.list("discounts") {
        if let Some(coupon) = entry.filled("coupon") {
            state.find("coupon", coupon, &entry.name("coupon"))?;
            reductions.push(Reduction {
                coupon: coupon.into(),
                code: None,
            });
        } else if let Some(code) = entry.filled("promotion_code") {
            let found = state.find("promotion_code", code, &entry.name("promotion_code"))?;
            if !usable(state, found) {
                return Err(
                    StripeError::invalid("This promotion code is inactive or expired.")
                        .code("promotion_code_invalid")
                        .param(entry.name("promotion_code")),
                );
            }
            reductions.push(Reduction {
                coupon: text(&found["promotion"], "coupon").into(),
                code: Some(code.into()),
            });
        }
    }
    Ok(reductions)
}

/// Makes the discount of a reduction and counts its use.
pub(super) fn apply(
    state: &mut State,
    reduction: &Reduction,
    customer: &str,
    subscription: Option<&str>,
    session: Option<&str>,
) -> String {
    let id = state.id("di");
    let now = state.now();
    let coupon = state.read(&reduction.coupon);
    let end = coupon["duration_in_months"]
        .as_i64()
        .map(|months| periods::add(now, now, "month", months));
    let discount = json!({
        "id": id, "object": "discount", "checkout_session": session, "customer": customer, "customer_account": null,
        "end": end, "invoice": null, "invoice_item": null, "promotion_code": reduction.code,
        "source": { "coupon": reduction.coupon, "type": "coupon" }, "start": now, "subscription": subscription,
        "subscription_item": null,
    });
    state.insert(discount);
    for used in std::iter::once(&reduction.coupon).chain(&reduction.code) {
        state.edit(used, |value| {
            value["times_redeemed"] = json!(int(value, "times_redeemed") + 1);
        });
    }
    state.emit("customer.discount.created", &id);
    id
}

/// The reduction in minor units that a discount gives on an amount.
pub(super) fn amount(state: &State, discount: &str, of: i64) -> i64 {
    let discount = state.read(discount);
    coupon_amount(&state.read(text(&discount["source"], "coupon")), of)
}

pub(super) fn coupon_amount(coupon: &Value, of: i64) -> i64 {
    if let Some(amount) = coupon["amount_off"].as_i64() {
        return amount.min(of);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "amounts are far below 2^52"
    )]
    let reduced =
        (of as f64 * coupon["percent_off"].as_f64().unwrap_or(0.0) / 100.0).round() as i64;
    reduced.min(of)
}

/// The discounts of a subscription that still run.
pub(super) fn running(state: &State, subscription: &Value) -> Vec<String> {
    let now = state.now();
    subscription["discounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|id| {
            state
                .get(id)
                .is_some_and(|discount| discount["end"].as_i64().is_none_or(|end| end > now))
        })
        .map(Into::into)
        .collect()
}

/// Ends the discounts of an invoice whose coupon counts once.
pub(super) fn used(state: &mut State, invoice: &Value) {
    if int(invoice, "subtotal") == 0 {
        return;
    }
    let subscription = text(&invoice["parent"]["subscription_details"], "subscription").to_owned();
    for id in invoice["discounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let discount = state.read(id);
        let coupon = state.read(text(&discount["source"], "coupon"));
        if coupon["duration"] == "once" {
            state.edit(&subscription, |subscription| {
                if let Some(discounts) = subscription["discounts"].as_array_mut() {
                    discounts.retain(|other| other != id);
                }
            });
        }
    }
}
