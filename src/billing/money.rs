//! Amounts for people.

/// Currencies without minor units.
const WITHOUT_DECIMALS: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];

/// Amount in minor units with its currency: `29.00 USD`.
pub(super) fn format(amount: i64, currency: &str) -> String {
    if WITHOUT_DECIMALS.contains(&currency) {
        return format!("{amount} {currency}");
    }
    let sign = if amount < 0 { "-" } else { "" };
    let (units, rest) = (amount.unsigned_abs() / 100, amount.unsigned_abs() % 100);
    format!("{sign}{units}.{rest:02} {currency}")
}
