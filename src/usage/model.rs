//! Types of reports and quotas.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use http_toolkit::{Position, Problem, Timestamp};
use serde::{Deserialize, Serialize};
use usage_meter::{Resolution, minute_of, time_of};
use utoipa::{IntoParams, ToSchema};

use crate::plans::Plan;
use crate::web::Code;

/// Table of counts by minute, partitioned by month.
pub const TABLE: &str = "api_usage";

/// Rollup by hour, partitioned by month.
pub const HOURLY_TABLE: &str = "usage_hourly";

/// Rollup by day, partitioned by month.
pub const DAILY_TABLE: &str = "usage_daily";

/// Returns whether a request with this status counts towards the quota: server errors and rejections by rate
/// limits do not.
pub(super) const fn is_charged(status: u16) -> bool {
    status < 500 && status != 429
}

/// Rounds up to a whole minute.
fn round_up_to_minute(time: DateTime<Utc>) -> DateTime<Utc> {
    let minute = minute_of(time);
    time_of(minute + i64::from(time_of(minute) < time))
}

/// Length of each item of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Granularity {
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day, in UTC.
    #[default]
    Day,
}

impl Granularity {
    /// Field name of `date_trunc`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub(super) const fn resolution(self) -> Resolution {
        match self {
            Self::Minute => Resolution::Minute,
            Self::Hour => Resolution::Hour,
            Self::Day => Resolution::Day,
        }
    }

    const fn default_span(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::hours(1),
            Self::Hour => TimeDelta::days(1),
            Self::Day => TimeDelta::days(30),
        }
    }

    const fn max_span(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::days(1),
            Self::Hour => TimeDelta::days(31),
            Self::Day => TimeDelta::days(400),
        }
    }
}

/// Grouping of a report, besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grouping {
    /// By endpoint.
    Endpoint,
}

/// Filter of a usage report.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageFilter {
    /// Start (RFC 3339), inclusive, of the minute; where counts are no longer kept by the minute, of the hour. By default 30
    /// days, one day or one hour before `to`, with items of a day, an hour or a minute.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-03-01T00:00:00Z")]
    from: Option<Timestamp>,
    /// End (RFC 3339), exclusive; now by default. At most 400 days, 31 days or one day after `from`, with
    /// items of a day, an hour or a minute.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-04-01T00:00:00Z")]
    to: Option<Timestamp>,
    /// Length of each item. Old counts, by default those of more than two days ago, are kept by the hour.
    #[param(inline)]
    granularity: Option<Granularity>,
    /// Grouping of items, besides time.
    #[param(inline)]
    group_by: Option<Grouping>,
}

/// Validated query of a report, in whole minutes, and in whole hours where counts are kept by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportQuery {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub granularity: Granularity,
    pub by_endpoint: bool,
}

impl UsageFilter {
    /// Rounds `from` down and `to` up: to whole minutes, and before `first_minute` to whole hours.
    pub(super) fn query(
        &self,
        now: DateTime<Utc>,
        first_minute: DateTime<Utc>,
    ) -> Result<ReportQuery, Problem> {
        let reject = |field, message: &'static str| {
            Problem::new(Code::BadRequest)
                .detail("the query string is not valid")
                .field(field, "invalid_value", message)
        };
        let granularity = self.granularity.unwrap_or_default();
        let to = round_up_to_minute(self.to.map_or(now, Timestamp::get));
        let from = self
            .from
            .map_or(to - granularity.default_span(), Timestamp::get);
        let from = time_of(minute_of(from));
        if from >= to {
            return Err(reject("from", "must be before `to`"));
        }
        if to - from > granularity.max_span() {
            let message = match granularity {
                Granularity::Minute => "must be at most one day before `to`, by the minute",
                Granularity::Hour => "must be at most 31 days before `to`, by the hour",
                Granularity::Day => "must be at most 400 days before `to`",
            };
            return Err(reject("from", message));
        }
        let hour = TimeDelta::hours(1);
        let is_by_hour = |time: &DateTime<Utc>| *time < first_minute;
        Ok(ReportQuery {
            from: match from.duration_trunc(hour) {
                Ok(rounded) if is_by_hour(&from) => rounded,
                _ => from,
            },
            to: match to.duration_trunc(hour) {
                Ok(rounded) if is_by_hour(&to) && rounded < to => rounded + hour,
                _ => to,
            },
            granularity,
            by_endpoint: self.group_by == Some(Grouping::Endpoint),
        })
    }
}

/// Position after an item: its start, and its endpoint if items are grouped by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LastItem(
    #[serde(deserialize_with = "Timestamp::within_range")] pub DateTime<Utc>,
    pub String,
);

impl Position for LastItem {
    const ORDER: &'static str = "usage.1";
}

/// Usage of a minute, an hour or a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct UsageItem {
    /// Start of the item.
    #[schema(example = "2026-03-14T00:00:00Z")]
    pub start: DateTime<Utc>,
    /// Operation, if items are grouped by endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "GET /api/v1/users/me")]
    pub endpoint: Option<String>,
    /// Requests.
    #[schema(example = 120)]
    pub requests: i64,
    /// Requests with status 400 to 499.
    #[schema(example = 2)]
    pub client_errors: i64,
    /// Requests with status 500 to 599.
    #[schema(example = 0)]
    pub server_errors: i64,
    /// Mean time from request to response head, in milliseconds.
    #[schema(example = 3.25)]
    pub response_time_mean_ms: f64,
    /// Maximum time from request to response head, in milliseconds.
    #[schema(example = 41.5)]
    pub response_time_max_ms: f64,
}

/// Usage of the current month and its quotas.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CurrentUsage {
    /// Plan.
    pub plan: Plan,
    /// Rate limit of the plan: requests a minute.
    #[schema(example = 100)]
    pub requests_per_minute: u32,
    /// Quota of the plan: requests a month. `null` is unlimited.
    #[schema(example = 10_000)]
    pub monthly_quota: Option<u32>,
    /// Whether requests beyond the quota are rejected.
    pub quota_is_hard: bool,
    /// Start of the month, in UTC.
    #[schema(example = "2026-03-01T00:00:00Z")]
    pub period_start: DateTime<Utc>,
    /// Start of the next month.
    #[schema(example = "2026-04-01T00:00:00Z")]
    pub period_end: DateTime<Utc>,
    /// Requests of the month until a few seconds ago, without those with status 429 or 500 to 599.
    #[schema(example = 1_234)]
    pub used: u64,
    /// Rest of the quota; `null` is unlimited.
    #[schema(example = 8_766)]
    pub remaining: Option<u64>,
    /// Quota of the plan: events stored in a month. `null` is unlimited.
    #[schema(example = 10_000)]
    pub monthly_events: Option<u64>,
    /// Events stored this month.
    #[schema(example = 120)]
    pub events_used: u64,
    /// Quota of the plan: bytes of events stored in a month. `null` is unlimited.
    #[schema(example = 10_485_760)]
    pub monthly_event_bytes: Option<u64>,
    /// Bytes of events stored this month: types, and data as compact JSON.
    #[schema(example = 65_536)]
    pub event_bytes_used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Month;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("it is a time")
    }

    fn filter(text: &str) -> UsageFilter {
        serde_json::from_str(text).expect("it is a filter")
    }

    #[test]
    fn a_month_begins_and_ends_in_utc() {
        let last = time("2026-12-31T23:59:59.999Z");
        let month = Month::of(last);
        assert_eq!(month.start(), time("2026-12-01T00:00:00Z"));
        assert_eq!(month.end(), time("2027-01-01T00:00:00Z"));
        assert_eq!(Month::of(month.end()).number(), month.number() + 1);
        assert_eq!(Month::of(time_of(minute_of(last))), month);
        assert_eq!(time_of(minute_of(last)), time("2026-12-31T23:59:00Z"));
        assert_eq!(minute_of(time("1969-12-31T23:59:30Z")), -1);
    }

    #[test]
    fn server_errors_and_rate_limited_requests_are_not_charged() {
        for (status, charged) in [
            (200, true),
            (404, true),
            (422, true),
            (499, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(is_charged(status), charged, "{status}");
        }
    }

    #[test]
    fn a_report_is_in_whole_minutes_and_has_defaults() {
        let now = time("2026-03-14T09:26:53Z");
        let query = filter("{}")
            .query(now, DateTime::<Utc>::MIN_UTC)
            .expect("it is good");
        assert_eq!(query.to, time("2026-03-14T09:27:00Z"));
        assert_eq!(query.from, time("2026-02-12T09:27:00Z"));
        assert_eq!(query.granularity, Granularity::Day);
        assert!(!query.by_endpoint);
        let text = r#"{"from": "2026-03-01T10:00:30+02:00", "to": "2026-03-02T00:00:00Z",
            "granularity": "hour", "group_by": "endpoint"}"#;
        let query = filter(text)
            .query(now, DateTime::<Utc>::MIN_UTC)
            .expect("it is good");
        assert_eq!(query.from, time("2026-03-01T08:00:00Z"));
        assert_eq!(query.to, time("2026-03-02T00:00:00Z"));
        assert!(query.by_endpoint);
    }

    #[test]
    fn where_counts_are_by_the_hour_a_report_is_in_whole_hours() {
        let now = time("2026-03-14T09:26:53Z");
        let first_minute = time("2026-03-12T09:00:00Z");
        let text = r#"{"from": "2026-03-11T10:40:00Z", "to": "2026-03-12T08:20:00Z"}"#;
        let query = filter(text).query(now, first_minute).expect("it is good");
        assert_eq!(query.from, time("2026-03-11T10:00:00Z"));
        assert_eq!(query.to, time("2026-03-12T09:00:00Z"));
        let text = r#"{"from": "2026-03-12T09:40:00Z", "to": "2026-03-12T10:20:00Z"}"#;
        let query = filter(text).query(now, first_minute).expect("it is good");
        assert_eq!(query.from, time("2026-03-12T09:40:00Z"));
        assert_eq!(query.to, time("2026-03-12T10:20:00Z"));
    }

    #[test]
    fn the_first_and_the_last_time_do_not_overflow() {
        let now = time("2026-03-14T09:26:53Z");
        let last = r#"{"from": "9999-12-31T23:00:00Z", "to": "9999-12-31T23:59:59.999999Z"}"#;
        let query = filter(last)
            .query(now, DateTime::<Utc>::MIN_UTC)
            .expect("it is good");
        assert_eq!(query.to - query.from, TimeDelta::hours(1));
        for granularity in ["minute", "hour", "day"] {
            let first =
                format!(r#"{{"to": "1970-01-01T00:00:00Z", "granularity": "{granularity}"}}"#);
            let query = filter(&first)
                .query(now, DateTime::<Utc>::MIN_UTC)
                .expect("it is good");
            assert_eq!(query.to, DateTime::UNIX_EPOCH);
        }
        let leap =
            filter(r#"{"to": "2016-12-31T23:59:60.9Z"}"#).query(now, DateTime::<Utc>::MIN_UTC);
        assert_eq!(leap.expect("it is good").to, time("2017-01-01T00:01:00Z"));
    }

    #[test]
    fn a_reversed_or_too_long_report_is_rejected() {
        let now = time("2026-03-14T09:26:53Z");
        let day = r#""to": "2026-03-14T00:00:00Z""#;
        for wrong in [
            format!(r#"{{"from": "2026-03-14T00:00:00Z", {day}}}"#),
            format!(r#"{{"from": "2026-03-15T00:00:00Z", {day}}}"#),
            format!(r#"{{"from": "2025-02-06T23:59:00Z", {day}}}"#),
            format!(r#"{{"from": "2026-02-10T23:59:00Z", {day}, "granularity": "hour"}}"#),
            format!(r#"{{"from": "2026-03-12T23:59:00Z", {day}, "granularity": "minute"}}"#),
            r#"{"from": "2026-03-14T09:27:00Z"}"#.to_owned(),
            r#"{"from": "1970-01-01T00:00:00Z"}"#.to_owned(),
        ] {
            let result = filter(&wrong).query(now, DateTime::<Utc>::MIN_UTC);
            assert!(
                result.is_err_and(|it| it.code() == Code::BadRequest),
                "{wrong}"
            );
        }
        let widest = format!(r#"{{"from": "2025-02-07T00:00:00Z", {day}}}"#);
        assert!(filter(&widest).query(now, DateTime::<Utc>::MIN_UTC).is_ok());
    }
}
