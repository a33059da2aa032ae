//! Timestamps of requests: RFC 3339, from 1970 to 9999.

use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Deserializer};

/// A timestamp of a request, in UTC and to the microsecond, which is the resolution of PostgreSQL.
/// Its range leaves room for date arithmetic and fits every column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Timestamp(DateTime<Utc>);

const EXPECTED: &str = "must be an RFC 3339 time such as 2026-03-14T09:26:53Z, from 1970 to 9999";

impl Timestamp {
    #[must_use]
    pub const fn get(self) -> DateTime<Utc> {
        self.0
    }

    /// Deserializes a time within the range, for `deserialize_with` in the positions of cursors.
    pub fn within_range<'de, D: Deserializer<'de>>(value: D) -> Result<DateTime<Utc>, D::Error> {
        Self::deserialize(value).map(Self::get)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let time = DateTime::parse_from_rfc3339(&raw).map_err(|_| EXPECTED)?;
        // Counted in microseconds, a leap second is the first second after it.
        DateTime::from_timestamp_micros(time.timestamp_micros())
            .filter(|time| (1970..=9999).contains(&time.year()))
            .map(Self)
            .ok_or(EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<String, &'static str> {
        let time = Timestamp::try_from(raw.to_owned())?.get();
        Ok(time.format("%FT%T%.6fZ").to_string())
    }

    #[test]
    fn times_are_read_in_utc_and_to_the_microsecond() {
        for (raw, expected) in [
            ("2026-03-14T09:26:53Z", "2026-03-14T09:26:53.000000Z"),
            ("2026-03-14t09:26:53z", "2026-03-14T09:26:53.000000Z"),
            ("2026-03-14T09:26:53+02:00", "2026-03-14T07:26:53.000000Z"),
            ("2026-03-14T09:26:53-00:00", "2026-03-14T09:26:53.000000Z"),
            (
                "2026-03-14T09:26:53.1234567Z",
                "2026-03-14T09:26:53.123456Z",
            ),
            (
                "2026-03-14T09:26:53.999999999Z",
                "2026-03-14T09:26:53.999999Z",
            ),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
            (
                "9999-12-31T23:59:59.999999999Z",
                "9999-12-31T23:59:59.999999Z",
            ),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000Z"),
        ] {
            assert_eq!(parse(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn times_out_of_range_or_of_another_form_are_rejected() {
        for raw in [
            "",
            "now",
            "2026-03-14",
            "2026-03-14T09:26:53",
            "2026-03-14T09:26Z",
            "2026-02-30T00:00:00Z",
            "2026-03-14T24:00:00Z",
            "2026-03-14T09:26:61Z",
            "2026-03-14T09:26:53+24:00",
            "2026-03-14T09:26:53Z\0",
            " 2026-03-14T09:26:53Z",
            "1773480413",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00+00:01",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            "-262143-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "+262142-12-31T23:59:59Z",
            "infinity",
            "-infinity",
        ] {
            assert_eq!(parse(raw), Err(EXPECTED), "{raw}");
        }
    }
}
