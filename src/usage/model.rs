//! What counts, for which month, and what a look at one's own use may ask for.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::plans::Plan;
use crate::web::{Code, Position, Problem, Timestamp};

/// The table of counts, by month.
pub const TABLE: &str = "api_usage";

/// The table of sums by the hour, by month.
pub const HOURLY_TABLE: &str = "usage_hourly";

/// The table of sums by the day, by month.
pub const DAILY_TABLE: &str = "usage_daily";

/// Whether a request with this answer counts towards the quota: what we failed to do does not, nor
/// does what we put off.
pub(super) const fn is_charged(status: u16) -> bool {
    status < 500 && status != 429
}

/// The start of a minute since 1970.
pub(super) fn time_of(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).unwrap_or_default()
}

/// The minute since 1970 that a moment is in.
pub(super) fn minute_of(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(60)
}

/// The first whole minute at or after a moment.
fn minute_from(time: DateTime<Utc>) -> DateTime<Utc> {
    let minute = minute_of(time);
    time_of(minute + i64::from(time_of(minute) < time))
}

/// How long each item of a look is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Granularity {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days, in UTC.
    #[default]
    Day,
}

impl Granularity {
    /// The name that PostgreSQL has for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long a look reaches back when nothing is said.
    const fn usual(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::hours(1),
            Self::Hour => TimeDelta::days(1),
            Self::Day => TimeDelta::days(30),
        }
    }

    /// How long a look may be.
    const fn most(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::days(1),
            Self::Hour => TimeDelta::days(31),
            Self::Day => TimeDelta::days(400),
        }
    }
}

/// What besides time the items of a look are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grouping {
    /// By endpoint.
    Endpoint,
}

/// Which of one's own use to show.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageFilter {
    /// The first moment (RFC 3339); `to` less 30 days, a day or an hour by default, as items are
    /// days, hours or minutes.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-03-01T00:00:00Z")]
    from: Option<Timestamp>,
    /// The first moment that is not shown any more (RFC 3339); now by default. At most 400 days, 31
    /// days or one day after `from`, as items are days, hours or minutes.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-04-01T00:00:00Z")]
    to: Option<Timestamp>,
    /// How long each item is.
    #[param(inline)]
    granularity: Option<Granularity>,
    /// What besides time items are told apart by.
    #[param(inline)]
    group_by: Option<Grouping>,
}

/// A look at use, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub granularity: Granularity,
    pub by_endpoint: bool,
}

impl UsageFilter {
    /// What is asked for, in whole minutes; `from` is rounded down and `to` up.
    pub(super) fn look(&self, now: DateTime<Utc>) -> Result<Look, Problem> {
        let refuse = |field, message: &'static str| {
            Problem::new(Code::BadRequest)
                .detail("the query string is not valid")
                .field(field, "invalid_value", message)
        };
        let granularity = self.granularity.unwrap_or_default();
        let to = minute_from(self.to.map_or(now, Timestamp::get));
        let from = self.from.map_or(to - granularity.usual(), Timestamp::get);
        let from = time_of(minute_of(from));
        if from >= to {
            return Err(refuse("from", "must be before `to`"));
        }
        if to - from > granularity.most() {
            let message = match granularity {
                Granularity::Minute => "must be at most one day before `to`, by the minute",
                Granularity::Hour => "must be at most 31 days before `to`, by the hour",
                Granularity::Day => "must be at most 400 days before `to`",
            };
            return Err(refuse("from", message));
        }
        Ok(Look {
            from,
            to,
            granularity,
            by_endpoint: self.group_by == Some(Grouping::Endpoint),
        })
    }
}

/// The last item of a page: its start, and its endpoint where items are told apart by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LastItem(
    #[serde(deserialize_with = "Timestamp::within_range")] pub DateTime<Utc>,
    pub String,
);

impl Position for LastItem {
    const ORDER: &'static str = "usage.1";
}

/// The requests of a minute, an hour or a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct UsageItem {
    /// When it begins.
    #[schema(example = "2026-03-14T00:00:00Z")]
    pub start: DateTime<Utc>,
    /// The operation, where they are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "GET /api/v1/users/me")]
    pub endpoint: Option<String>,
    /// Requests.
    #[schema(example = 120)]
    pub requests: i64,
    /// Those of them that were refused: answers 400 to 499.
    #[schema(example = 2)]
    pub client_errors: i64,
    /// Those of them that we failed: answers 500 to 599.
    #[schema(example = 0)]
    pub server_errors: i64,
    /// From a request's arrival to its answer's head: the mean.
    #[schema(example = 3.25)]
    pub response_time_mean_ms: f64,
    /// The same: the longest.
    #[schema(example = 41.5)]
    pub response_time_max_ms: f64,
}

/// What of this month's quota is used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CurrentUsage {
    /// The plan.
    pub plan: Plan,
    /// Requests a minute that the plan allows.
    #[schema(example = 100)]
    pub requests_per_minute: u32,
    /// Requests a month that the plan includes; `null` is without end.
    #[schema(example = 10_000)]
    pub monthly_quota: Option<u32>,
    /// Whether requests beyond the quota are refused.
    pub quota_is_hard: bool,
    /// The start of the month, in UTC.
    #[schema(example = "2026-03-01T00:00:00Z")]
    pub period_start: DateTime<Utc>,
    /// The start of the next one.
    #[schema(example = "2026-04-01T00:00:00Z")]
    pub period_end: DateTime<Utc>,
    /// Requests of the month so far, up to a few seconds ago; answers 429 and 500 to 599 do not count.
    #[schema(example = 1_234)]
    pub used: u64,
    /// What of the quota is left; `null` is without end.
    #[schema(example = 8_766)]
    pub remaining: Option<u64>,
    /// Events that the plan stores in a month; `null` is unlimited.
    #[schema(example = 10_000)]
    pub monthly_events: Option<u64>,
    /// Events stored this month.
    #[schema(example = 120)]
    pub events_used: u64,
    /// Bytes of events that the plan stores in a month; `null` is unlimited.
    #[schema(example = 10_485_760)]
    pub monthly_event_bytes: Option<u64>,
    /// Bytes of events stored this month: their types, and their data as compact JSON.
    #[schema(example = 65_536)]
    pub event_bytes_used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Month;

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
    fn what_we_fail_and_what_we_put_off_is_not_charged() {
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
    fn a_look_is_in_whole_minutes_and_has_defaults() {
        let now = time("2026-03-14T09:26:53Z");
        let look = filter("{}").look(now).expect("it is good");
        assert_eq!(look.to, time("2026-03-14T09:27:00Z"));
        assert_eq!(look.from, time("2026-02-12T09:27:00Z"));
        assert_eq!(look.granularity, Granularity::Day);
        assert!(!look.by_endpoint);
        let asked = r#"{"from": "2026-03-01T10:00:30+02:00", "to": "2026-03-02T00:00:00Z",
            "granularity": "hour", "group_by": "endpoint"}"#;
        let look = filter(asked).look(now).expect("it is good");
        assert_eq!(look.from, time("2026-03-01T08:00:00Z"));
        assert_eq!(look.to, time("2026-03-02T00:00:00Z"));
        assert!(look.by_endpoint);
    }

    #[test]
    fn the_first_and_the_last_time_are_looked_at_without_overflow() {
        let now = time("2026-03-14T09:26:53Z");
        let last = r#"{"from": "9999-12-31T23:00:00Z", "to": "9999-12-31T23:59:59.999999Z"}"#;
        let look = filter(last).look(now).expect("it is good");
        assert_eq!(look.to - look.from, TimeDelta::hours(1));
        for granularity in ["minute", "hour", "day"] {
            let first =
                format!(r#"{{"to": "1970-01-01T00:00:00Z", "granularity": "{granularity}"}}"#);
            let look = filter(&first).look(now).expect("it is good");
            assert_eq!(look.to, DateTime::UNIX_EPOCH);
        }
        let leap = filter(r#"{"to": "2016-12-31T23:59:60.9Z"}"#).look(now);
        assert_eq!(leap.expect("it is good").to, time("2017-01-01T00:01:00Z"));
    }

    #[test]
    fn a_look_backwards_or_beyond_its_bounds_is_refused() {
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
            let refused = filter(&wrong).look(now);
            assert!(
                refused.is_err_and(|it| it.code() == Code::BadRequest),
                "{wrong}"
            );
        }
        let widest = format!(r#"{{"from": "2025-02-07T00:00:00Z", {day}}}"#);
        assert!(filter(&widest).look(now).is_ok());
    }
}
