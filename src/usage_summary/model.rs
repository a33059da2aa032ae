//! The month of a summary, and its numbers.

use chrono::{DateTime, TimeDelta, Utc};
use clock::Month;

/// After the end of a month, so that its last counts are written also after an outage.
const AFTER_MONTH: TimeDelta = TimeDelta::hours(6);

/// The month that summaries are about at a time: the last one, from six hours after its end.
pub(super) fn reported_month(now: DateTime<Utc>) -> Month {
    Month::of(now - AFTER_MONTH).previous()
}

/// English name and year.
pub(super) fn name(month: Month) -> String {
    month.start().format("%B %Y").to_string()
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_reported_from_six_hours_after_its_end() {
        for (now, expected) in [
            ("2026-11-01T05:59:59Z", "September 2026"),
            ("2026-11-01T06:00:00Z", "October 2026"),
            ("2026-11-30T23:59:59Z", "October 2026"),
            ("2027-01-01T06:00:00Z", "December 2026"),
        ] {
            let now = now.parse().expect("it is a time");
            assert_eq!(name(reported_month(now)), expected);
        }
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
