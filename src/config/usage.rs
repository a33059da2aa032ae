//! Metering, events and the audit log.

use std::time::Duration;

use chrono::{DateTime, Days, Months, Utc};
use settings::Setting;

settings::settings! {
    /// Metering and events.
    pub struct UsageConfig {}
    "Metering and events", UsageSettings {
        /// How often counts of requests are written. A process that is killed loses what it counted
        /// since; beyond a hard quota each replica may let in what arrives in so much time.
        USAGE_FLUSH_INTERVAL => flush_interval: Duration = "5s", at_most("60s");
        /// Counts (an account, operation, status and minute each) that are kept while they cannot be
        /// written; about 150 bytes each.
        USAGE_BUFFER => buffer: usize = 100000, within(1000..=10000000);
        /// How long counts are kept: months or days (`400d`), two months at least. Whole months go.
        USAGE_RETENTION => retention: Retention = "13mo";
        /// How long events are kept, likewise.
        EVENTS_RETENTION => events_retention: Retention = "13mo";
        /// Reports (`GET /usage`) that run at once in a process, two for one account. Others wait a
        /// second and get 429 or 503. Keep it below the pool's size.
        USAGE_REPORTS => reports_at_once: usize = 4, within(1..=100);
        /// For the statement of one report; also ends reports whose client hung up.
        USAGE_REPORT_TIMEOUT => report_timeout: Duration = "2s", at_most("30s");
    }
}

settings::settings! {
    /// The audit log.
    pub struct AuditConfig {}
    // The database keeps addresses of the last 30 days and months of the last year, so that an
    // intruder who takes over the service cannot remove the traces.
    "Audit log", AuditSettings {
        /// How long client addresses and user agents are kept in audit entries; the entries stay.
        AUDIT_ADDRESS_RETENTION => address_retention: Duration = "90d", within("30d"..="3650d");
        /// How long entries are kept: months or days, `12mo` or `366d` at least; unset is for ever.
        /// Whole months go.
        AUDIT_RETENTION => retention: Option<Retention>,
            check(|kept| kept.is_a_year(), "must be at least 12mo, or 366d");
    }
}

/// Retention of partitions by month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// `13mo`.
    Months(u32),
    /// `400d`.
    Days(u32),
}

impl Retention {
    fn is_a_year(self) -> bool {
        match self {
            Self::Months(months) => months >= 12,
            Self::Days(days) => days >= 366,
        }
    }

    /// Rows before the returned time may be deleted.
    #[must_use]
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let before = match self {
            Self::Months(months) => now.checked_sub_months(Months::new(months)),
            Self::Days(days) => now.checked_sub_days(Days::new(days.into())),
        };
        before.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl Setting for Retention {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let number = |unit| text.strip_suffix(unit)?.parse::<u32>().ok();
        // Quotas need the rows of this month, and months are dropped as a whole.
        let months = number("mo").filter(|months| (2..=240).contains(months));
        let days = number("d").filter(|days| (62..=7_300).contains(days));
        months
            .map(Self::Months)
            .or(days.map(Self::Days))
            .ok_or_else(|| "must be months or days: 2mo to 240mo, or 62d to 7300d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_months_or_days_and_never_less_than_two_months() {
        let parse = |text: &str| Retention::parse(text).ok();
        assert_eq!(parse("13mo"), Some(Retention::Months(13)));
        assert_eq!(parse("400d"), Some(Retention::Days(400)));
        for wrong in [
            "", "13", "1mo", "61d", "241mo", "7301d", "-2mo", "13m", "0d", "mo",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let now: DateTime<Utc> = "2026-03-31T12:00:00Z".parse().expect("it is a time");
        let before = |retention: Retention| retention.before(now).to_rfc3339();
        assert_eq!(
            before(Retention::Months(13)),
            "2025-02-28T12:00:00+00:00",
            "a shorter month's last day"
        );
        assert_eq!(before(Retention::Days(90)), "2025-12-31T12:00:00+00:00");
    }
}
