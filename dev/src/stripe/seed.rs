//! Catalog: products, prices, promotion codes with ids that settings name.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    catalog::{self, NewPrice},
    portal,
    state::{State, text},
};

/// Everything that an account sells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Products with their prices.
    #[serde(default)]
    pub products: Vec<CatalogProduct>,
    /// Codes that customers type at checkout.
    #[serde(default)]
    pub promotion_codes: Vec<CatalogCode>,
    /// Meters that count usage.
    #[serde(default)]
    pub meters: Vec<CatalogMeter>,
    /// Whether the portal is configured.
    #[serde(default)]
    pub portal: bool,
}

/// A product.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogProduct {
    /// Id such as `prod_pro`.
    pub id: String,
    /// Name on the pages.
    pub name: String,
    /// Its prices.
    pub prices: Vec<CatalogPrice>,
}

/// A price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogPrice {
    /// Id such as `price_pro_monthly`.
    pub id: String,
    /// Minor units for one; a usage price may have a decimal instead.
    #[serde(default)]
    pub amount: Option<i64>,
    /// Minor units with a fraction.
    #[serde(default)]
    pub amount_decimal: Option<String>,
    /// Currency in lower case.
    pub currency: String,
    /// When it is charged.
    pub interval: Interval,
    /// Whether it is for sale.
    #[serde(default = "yes")]
    pub active: bool,
}

/// When a price is charged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Each month.
    Month,
    /// Each year.
    Year,
    /// Once.
    Once,
    /// Each month for what a meter with this id has counted.
    UsageMetered {
        /// Id of the meter.
        meter: String,
    },
}

/// A promotion code and its coupon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogCode {
    /// The code that customers type.
    pub code: String,
    /// Percentage off.
    #[serde(default)]
    pub percent_off: Option<f64>,
    /// Minor units off, in the currency beside it.
    #[serde(default)]
    pub amount_off: Option<i64>,
    /// Currency of `amount_off`.
    #[serde(default)]
    pub currency: Option<String>,
    /// `once`, `forever` or `repeating`.
    pub duration: String,
    /// Months of `repeating`.
    #[serde(default)]
    pub duration_in_months: Option<i64>,
}

/// A meter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogMeter {
    /// Id such as `mtr_requests`.
    pub id: String,
    /// Name of its events.
    pub event_name: String,
    /// `sum`, `count` or `last`.
    #[serde(default = "sum")]
    pub formula: String,
    /// `hour` or `day`, for `last`.
    #[serde(default)]
    pub event_time_window: Option<String>,
}

fn yes() -> bool {
    true
}

fn sum() -> String {
    "sum".into()
}

/// Stores what a catalog lists; objects with the same ids are replaced.
pub(super) fn seed(state: &mut State, catalog: &Catalog) {
    for meter in &catalog.meters {
        let value = super::meters::value(
            state,
            &meter.id,
            &meter.event_name,
            &meter.event_name,
            &meter.formula,
            meter.event_time_window.as_deref(),
        );
        state.insert(value);
    }
    for product in &catalog.products {
        let value = catalog::product_value(&product.id, &product.name, state.now(), state.livemode);
        state.insert(value);
        for price in &product.prices {
            let recurring = match &price.interval {
                Interval::Month => catalog::recurring("month", 1, None),
                Interval::Year => catalog::recurring("year", 1, None),
                Interval::Once => Value::Null,
                Interval::UsageMetered { meter } => catalog::recurring("month", 1, Some(meter)),
            };
            let mut value = catalog::price_value(
                state,
                &NewPrice {
                    id: &price.id,
                    product: &product.id,
                    currency: &price.currency,
                    amount: price.amount,
                    amount_decimal: price.amount_decimal.as_deref(),
                    recurring,
                },
            );
            value["active"] = json!(price.active);
            state.insert(value);
        }
    }
    for code in &catalog.promotion_codes {
        seed_code(state, code);
    }
    let configured = portal::default_configuration(state);
    match (catalog.portal, configured) {
        (true, None) => {
            portal::insert_default(state);
        }
        (false, Some(id)) => state.remove(&id),
        _ => {}
    }
}

fn seed_code(state: &mut State, code: &CatalogCode) {
    for old in state.ids_where("promotion_code", |other| text(other, "code") == code.code) {
        state.remove(&old);
    }
    let now = state.now();
    let coupon = state.id("coupon");
    state.insert(json!({
        "id": coupon, "object": "coupon", "amount_off": code.amount_off, "created": now, "currency": code.currency,
        "duration": code.duration, "duration_in_months": code.duration_in_months, "livemode": state.livemode,
        "max_redemptions": null, "metadata": {}, "name": code.code, "percent_off": code.percent_off,
        "redeem_by": null, "times_redeemed": 0, "valid": true,
    }));
    let id = state.id("promo");
    state.insert(json!({
        "id": id, "object": "promotion_code", "active": true, "code": code.code, "created": now, "customer": null,
        "customer_account": null, "expires_at": null, "livemode": state.livemode, "max_redemptions": null,
        "metadata": {}, "promotion": { "coupon": coupon, "type": "coupon" },
        "restrictions": {
            "first_time_transaction": false, "minimum_amount": null, "minimum_amount_currency": null,
        },
        "times_redeemed": 0,
    }));
}
