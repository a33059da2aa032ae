//! Source of each part of a report: a daily rollup for whole days, an hourly one for the remaining whole
//! hours, and the counts by minute for the rest.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

type Time = DateTime<Utc>;

/// Disjoint time ranges by the table that they are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// To read by the minute.
    pub minutes: Bounds,
    /// Whole hours.
    pub hours: Bounds,
    /// Whole days, in UTC.
    pub days: Bounds,
}

/// Ranges as two arrays of the same length, as `unnest` takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Starts, inclusive.
    pub from: Vec<Time>,
    /// Ends, exclusive.
    pub to: Vec<Time>,
}

/// Length of each item of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day, in UTC.
    Day,
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
    /// Splits a range among the rollups that are as fine as `resolution`.
    pub fn split(from: Time, to: Time, resolution: Resolution) -> Self {
        let mut ranges = Self::default();
        match resolution {
            Resolution::Minute => ranges.minutes.push(from, to),
            Resolution::Hour => ranges.add_hours(from, to),
            Resolution::Day => match whole(from, to, TimeDelta::days(1)) {
                Some((first, last)) => {
                    ranges.add_hours(from, first);
                    ranges.days.push(first, last);
                    ranges.add_hours(last, to);
                }
                None => ranges.add_hours(from, to),
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

    fn ranges(from: &str, to: &str, resolution: Resolution) -> [Vec<(Time, Time)>; 3] {
        let Ranges {
            minutes,
            hours,
            days,
        } = Ranges::split(time(from), time(to), resolution);
        [minutes, hours, days].map(|it| it.from.into_iter().zip(it.to).collect())
    }

    fn range(from: &str, to: &str) -> (Time, Time) {
        (time(from), time(to))
    }

    #[test]
    fn whole_days_and_hours_are_read_from_rollups_and_the_edges_by_the_minute() {
        let [minutes, hours, days] = ranges("01T10:30", "04T02:15", Resolution::Day);
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
        let [minutes, hours, days] = ranges("01T00:00", "04T00:00", Resolution::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (0, 0, 1));
        let [minutes, hours, days] = ranges("01T05:00", "04T07:00", Resolution::Hour);
        assert_eq!((minutes.len(), hours.len(), days.len()), (0, 1, 0));
    }

    #[test]
    fn a_range_within_an_hour_or_a_day_reads_no_coarser_rows() {
        let [minutes, hours, days] = ranges("01T10:10", "01T10:50", Resolution::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (1, 0, 0));
        let [minutes, hours, days] = ranges("01T10:10", "01T23:50", Resolution::Day);
        assert_eq!((minutes.len(), hours.len(), days.len()), (2, 1, 0));
        let [minutes, hours, days] = ranges("01T00:00", "02T00:00", Resolution::Minute);
        assert_eq!((minutes.len(), hours.len(), days.len()), (1, 0, 0));
    }
}
