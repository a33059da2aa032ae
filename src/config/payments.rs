//! Payments of customers, besides subscriptions.

use settings::{CurrencyCode, List, Setting};

settings::settings! {
    "Payments", PaymentSettings {
        /// Currencies that payments may have (ISO 4217). By default `PLAN_CURRENCY`.
        PAYMENT_CURRENCIES => currencies: List<ChargeCurrency>;
        /// Largest amount of a payment, in minor units of its currency. Stripe charges eight digits.
        PAYMENT_MAX_AMOUNT => max_amount: u32 = 99999999, within(1..=99999999);
    }
}

#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// ISO 4217, in upper case.
    pub currencies: Vec<String>,
    /// In minor units.
    pub max_amount: i64,
}

impl PaymentSettings {
    pub(super) fn into_config(self, plan_currency: &str) -> Option<PaymentsConfig> {
        let mut currencies = self.currencies?;
        if currencies.is_empty() {
            currencies.push(plan_currency.to_owned());
        }
        Some(PaymentsConfig {
            currencies,
            max_amount: self.max_amount?.into(),
        })
    }
}

/// Currency that Stripe charges.
#[derive(Debug)]
pub(super) struct ChargeCurrency;

impl Setting for ChargeCurrency {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let code = CurrencyCode::parse(text)?;
        match stripe_client::parse_currency(&code) {
            Some(_) => Ok(code),
            None => Err("must be currencies that Stripe charges".to_owned()),
        }
    }
}
