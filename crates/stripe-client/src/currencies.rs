//! Stripe's rules for amounts, by currency. Its minor units are not those of ISO 4217: ISK and UGX have two digits that
//! are always zero, MGA has none, and IQD and LYD have two.

use std::str::FromStr as _;

use stripe_types::Currency;

/// Currencies whose minor unit is the unit.
const ZERO_DECIMAL: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];

/// Currencies with thousandths, of which Stripe charges tens.
const THREE_DECIMAL: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// Currencies with hundredths, of which Stripe charges whole units.
const WHOLE_UNITS: [&str; 2] = ["ISK", "UGX"];

/// In minor units. Of other currencies Stripe converts the smallest charge of the account's own.
const SMALLEST_CHARGES: [(&str, i64); 22] = [
    ("AED", 200),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("INR", 50),
    ("JPY", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 250),
    ("NZD", 50),
    ("PLN", 200),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
];

/// Rules for amounts of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyRules {
    /// Digits of the minor unit.
    pub decimals: u8,
    /// Amounts are multiples of it.
    pub step: i64,
    /// Smallest charge, in minor units.
    pub smallest: i64,
}

impl CurrencyRules {
    /// Rules of a currency by its ISO 4217 code in upper case.
    #[must_use]
    pub fn of(code: &str) -> Self {
        let (decimals, step) = if ZERO_DECIMAL.contains(&code) {
            (0, 1)
        } else if THREE_DECIMAL.contains(&code) {
            (3, 10)
        } else if WHOLE_UNITS.contains(&code) {
            (2, 100)
        } else {
            (2, 1)
        };
        let known = SMALLEST_CHARGES.iter().find(|(name, _)| *name == code);
        Self {
            decimals,
            step,
            smallest: known.map_or(step, |(_, smallest)| *smallest),
        }
    }
}

/// Parses an ISO 4217 code in upper case; `None` unless Stripe has the currency.
#[must_use]
pub fn parse_currency(code: &str) -> Option<Currency> {
    if !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let Ok(currency) = Currency::from_str(&code.to_ascii_lowercase());
    // async-stripe lacks those with three decimals.
    let is_known = !matches!(currency, Currency::Unknown(_)) || THREE_DECIMAL.contains(&code);
    is_known.then_some(currency)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// Facts of Stripe's page on currencies, beside the repository.
    const FACTS: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/stripe-data/currencies.json"
    );

    #[test]
    fn amounts_have_the_digits_of_stripes_table() {
        for (code, decimals, step, smallest) in [
            ("USD", 2, 1, 50),
            ("JPY", 0, 1, 50),
            ("KRW", 0, 1, 1),
            ("KWD", 3, 10, 10),
            ("ISK", 2, 100, 100),
            ("UGX", 2, 100, 100),
            ("HUF", 2, 1, 17_500),
            ("MGA", 0, 1, 1),
            ("IQD", 2, 1, 1),
        ] {
            let expected = CurrencyRules {
                decimals,
                step,
                smallest,
            };
            assert_eq!(CurrencyRules::of(code), expected, "{code}");
        }
    }

    #[test]
    fn every_currency_of_the_table_is_one_of_stripes() {
        let smallest = SMALLEST_CHARGES.iter().map(|(code, _)| code);
        let all = ZERO_DECIMAL.iter().chain(&THREE_DECIMAL);
        for code in all.chain(&WHOLE_UNITS).chain(smallest) {
            assert!(parse_currency(code).is_some(), "{code}");
        }
        for wrong in ["", "usd", "US", "XXX", "USDT", "ÜSD"] {
            assert_eq!(parse_currency(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_table_is_that_of_the_facts() {
        if !Path::new(FACTS).exists() {
            eprintln!("not compared: there is no {FACTS}");
            return;
        }
        let text = std::fs::read_to_string(FACTS).expect("it is readable");
        let facts: Value = serde_json::from_str(&text).expect("it is JSON");
        let listed = |name: &str| -> BTreeSet<String> {
            serde_json::from_value(facts[name].clone()).expect("it lists codes")
        };
        let named = |name: &str| -> BTreeSet<String> {
            let named = facts[name].as_object().expect("it is an object");
            named.keys().cloned().collect()
        };
        let ours = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect();
        assert_eq!(listed("zero_decimal"), ours(&ZERO_DECIMAL));
        assert_eq!(
            listed("three_decimal_last_digit_zero"),
            ours(&THREE_DECIMAL)
        );
        assert_eq!(
            named("two_decimal_but_whole_units_only"),
            ours(&WHOLE_UNITS)
        );
        for code in named("payout_only_special") {
            assert_eq!(CurrencyRules::of(&code).step, 1, "{code} is charged");
        }
        let smallest = facts["smallest_charge"].as_object();
        let smallest = smallest.expect("it is an object");
        assert_eq!(smallest.len(), SMALLEST_CHARGES.len());
        for (code, least) in SMALLEST_CHARGES {
            assert_eq!(smallest[code], least, "{code}");
        }
    }
}
