//! Amounts for people.

use stripe_client::CurrencyRules;

/// Amount in minor units with its currency: `29.00 USD`.
pub(super) fn format(amount: i64, currency: &str) -> String {
    let decimals = usize::from(CurrencyRules::of(currency).decimals);
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", amount.unsigned_abs(), width = decimals + 1);
    let (units, rest) = digits.split_at(digits.len() - decimals);
    let point = if decimals > 0 { "." } else { "" };
    format!("{sign}{units}{point}{rest} {currency}")
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn an_amount_has_the_digits_of_its_currency() {
        for (amount, currency, text) in [
            (2_900, "USD", "29.00 USD"),
            (5, "EUR", "0.05 EUR"),
            (-150, "EUR", "-1.50 EUR"),
            (500, "JPY", "500 JPY"),
            (12_340, "KWD", "12.340 KWD"),
        ] {
            assert_eq!(format(amount, currency), text);
        }
    }
}
