//! The settings of metering and events: how often counts are written, and how long all is kept.

use std::time::Duration;

use chrono::{DateTime, Days, Months, Utc};

use super::reader::Reader;
use super::setting::{Setting, secs};

/// Metering and events.
#[derive(Clone, Debug)]
pub struct UsageConfig {
    /// `USAGE_FLUSH_INTERVAL`: how often counts are written; what a process that is killed loses.
    pub flush_interval: Duration,
    /// `USAGE_BUFFER`: counts that are kept while they cannot be written.
    pub buffer: usize,
    /// `USAGE_RETENTION`: how long counts are kept.
    pub retention: Retention,
    /// `EVENTS_RETENTION`: how long events are kept.
    pub events_retention: Retention,
    /// `USAGE_REPORTS`: reports of use that run at once in this process.
    pub reports_at_once: usize,
    /// `USAGE_REPORT_TIMEOUT`: for the statement of one report.
    pub report_timeout: Duration,
}

/// How long rows are kept that are dropped by the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// `13mo`.
    Months(u32),
    /// `400d`.
    Days(u32),
}

impl Retention {
    /// The moment before which nothing needs to be kept.
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
    fn parse(text: &str) -> Result<Self, String> {
        let number = |unit| text.strip_suffix(unit)?.parse::<u32>().ok();
        // This month's rows are what quotas are held by, and a month goes as a whole.
        let months = number("mo").filter(|months| (2..=240).contains(months));
        let days = number("d").filter(|days| (62..=7_300).contains(days));
        months
            .map(Self::Months)
            .or(days.map(Self::Days))
            .ok_or_else(|| "must be months or days: 2mo to 240mo, or 62d to 7300d".to_owned())
    }
}

impl Reader<'_> {
    pub(super) fn usage(&mut self) -> Option<UsageConfig> {
        let flush_interval = self.duration("USAGE_FLUSH_INTERVAL", secs(5));
        if flush_interval.is_some_and(|every| every > secs(60)) {
            self.fault("USAGE_FLUSH_INTERVAL", "must be at most 60s");
        }
        let buffer = self.within("USAGE_BUFFER", 100_000, 1_000..=10_000_000);
        let retention = self.or("USAGE_RETENTION", Retention::Months(13));
        let events_retention = self.or("EVENTS_RETENTION", Retention::Months(13));
        let reports_at_once = self.within("USAGE_REPORTS", 4, 1..=100);
        let report_timeout = self.duration("USAGE_REPORT_TIMEOUT", secs(2));
        if report_timeout.is_some_and(|most| most > secs(30)) {
            self.fault("USAGE_REPORT_TIMEOUT", "must be at most 30s");
        }
        Some(UsageConfig {
            flush_interval: flush_interval?,
            buffer: buffer?,
            retention: retention?,
            events_retention: events_retention?,
            reports_at_once: reports_at_once?,
            report_timeout: report_timeout?,
        })
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
