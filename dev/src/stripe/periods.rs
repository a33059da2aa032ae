//! Billing periods in calendar units.

use chrono::{DateTime, Days, Months};

/// A time some intervals later, on the day of the month of an anchor.
pub(super) fn add(from: i64, anchor: i64, interval: &str, count: i64) -> i64 {
    let months = match interval {
        "month" => count,
        "year" => count * 12,
        _ => return add_days(from, if interval == "week" { count * 7 } else { count }),
    };
    // Counted from the anchor, so that the 31st is not lost in a short month.
    let (Some(from_date), Some(anchor_date)) = (date(from), date(anchor)) else {
        return from;
    };
    let gone = (0..=12_000).find(|gone| {
        anchor_date
            .checked_add_months(Months::new(*gone))
            .is_none_or(|date| date >= from_date)
    });
    let whole = gone.unwrap_or(0) + u32::try_from(months).unwrap_or(1);
    let next = anchor_date.checked_add_months(Months::new(whole));
    next.map_or(from, |date| date.timestamp())
}

fn date(at: i64) -> Option<DateTime<chrono::Utc>> {
    DateTime::from_timestamp(at, 0)
}

fn add_days(from: i64, days: i64) -> i64 {
    let days = Days::new(u64::try_from(days).unwrap_or(1));
    date(from)
        .and_then(|date| date.checked_add_days(days))
        .map_or(from, |date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_keep_the_day_of_the_anchor() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        let anchor = at("2026-01-31T10:00:00Z");
        let february = add(anchor, anchor, "month", 1);
        assert_eq!(february, at("2026-02-28T10:00:00Z"));
        assert_eq!(
            add(february, anchor, "month", 1),
            at("2026-03-31T10:00:00Z")
        );
        assert_eq!(add(anchor, anchor, "year", 1), at("2027-01-31T10:00:00Z"));
    }
}
