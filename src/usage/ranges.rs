//! Source of each part of a report: the daily rollup for whole days, the hourly one for the remaining whole
//! hours, and the counts by minute for the rest.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::model::{Granularity, ReportQuery};

type Time = DateTime<Utc>;

/// Disjoint time ranges by the table that they are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    pub minutes: Bounds,
    pub hours: Bounds,
    pub days: Bounds,
}

/// As arrays for `unnest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub from: Vec<Time>,
    pub to: Vec<Time>,
}

impl Bounds {
    fn push(&mut self, from: Time, to: Time) {
        if from < to {
            self.from.push(from);
            self.to.push(to);
        }
    }
}

impl Ranges {
    /// Ranges of a report from `from` on. Until the rollups are complete all of it is read by the minute.
    pub(super) fn of(query: &ReportQuery, from: Time, has_rollups: bool) -> Self {
        let mut ranges = Self::default();
        match query.granularity {
            _ if !has_rollups => ranges.minutes.push(from, query.to),
            Granularity::Minute => ranges.minutes.push(from, query.to),
            Granularity::Hour => ranges.add_hours(from, query.to),
            Granularity::Day => match whole(from, query.to, TimeDelta::days(1)) {
                Some((first, last)) => {
                    ranges.add_hours(from, first);
                    ranges.days.push(first, last);
                    ranges.add_hours(last, query.to);
                }
                None => ranges.add_hours(from, query.to),
            },
        }
        ranges
    }

    fn add_hours(&mut self, from: Time, to: Time) {
        match whole(from, to, TimeDelta::hours(1)) {
            Some((first, last)) => {
                self.minutes.push(from, first);
                self.hours.push(first, last);
                self.minutes.push(last, to);
            }
            None => self.minutes.push(from, to),
        }
    }
}

/// Returns the part of a range that consists of whole units.
fn whole(from: Time, to: Time, unit: TimeDelta) -> Option<(Time, Time)> {
    let floor = from.duration_trunc(unit).ok()?;
    let first = if floor < from { floor + unit } else { floor };
    let last = to.duration_trunc(unit).ok()?;
    (first < last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        format!("2026-03-{text}:00Z").parse().expect("it is a time")
    }

    fn ranges(from: &str, to: &str, granularity: Granularity) -> [Vec<(Time, Time)>; 3] {
        let query = ReportQuery {
            from: time(from),
            to: time(to),
            granularity,
            by_endpoint: false,
        };
        let Ranges {
            minutes,
            hours,
            days,
        } = Ranges::of(&query, query.from, true);
        [minutes, hours, days].map(|it| it.from.into_iter().zip(it.to).collect())
    }

    fn range(from: &str, to: &str) -> (Time, Time) {
        (time(from), time(to))
    }

    #[test]
    fn whole_days_and_hours_are_read_from_rollups_and_the_edges_by_the_minute() {
        let [minutes, hours, days] = ranges("01T10:30", "04T02:15", Granularity::Day);
        assert_eq!(
            minutes,
            [range("01T10:30", "01T11:00"), range("04T02:00", "04T02:15")]
        );
        assert_eq!(
            hours,
            [range("01T11:00", "02T00:00"), range("04T00:00", "04T02:00")]
        );
        assert_eq!(days, [range("02T00:00", "04T00:00")]);
    }

    #[test]
    fn aligned_bounds_need_no_finer_rows() {
        let [minutes, hours, days] = ranges("01T00:00", "04T00:00", Granularity::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (0, 0, 1));
        let [minutes, hours, days] = ranges("01T05:00", "04T07:00", Granularity::Hour);
        assert_eq!((minutes.len(), hours.len(), days.len()), (0, 1, 0));
    }

    #[test]
    fn a_range_within_an_hour_or_a_day_reads_no_coarser_rows() {
        let [minutes, hours, days] = ranges("01T10:10", "01T10:50", Granularity::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (1, 0, 0));
        let [minutes, hours, days] = ranges("01T10:10", "01T23:50", Granularity::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (2, 1, 0));
        let [minutes, hours, days] = ranges("01T00:00", "02T00:00", Granularity::Minute);
        assert_eq!((minutes.len(), hours.len(), days.len()), (1, 0, 0));
    }
}
