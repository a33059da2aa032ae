//! Calendar month.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

/// Calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(NaiveDate);

impl Month {
    /// Month that contains `time`.
    pub fn of(time: DateTime<Utc>) -> Self {
        let day = time.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    /// Month before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        let previous = self.0.checked_sub_months(chrono::Months::new(1));
        Self(previous.unwrap_or(NaiveDate::MIN))
    }

    /// Consecutive number: months since the year 0.
    pub fn number(self) -> i32 {
        self.0.year() * 12 + i32::try_from(self.0.month0()).unwrap_or_default()
    }

    /// First day of the month.
    pub const fn first_day(self) -> NaiveDate {
        self.0
    }

    /// Start of the month.
    pub fn start(self) -> DateTime<Utc> {
        self.0.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// Start of the next month.
    pub fn end(self) -> DateTime<Utc> {
        let next = self.0.checked_add_months(chrono::Months::new(1));
        Self(next.unwrap_or(NaiveDate::MAX)).start()
    }
}

impl From<NaiveDate> for Month {
    fn from(first_day: NaiveDate) -> Self {
        Self(first_day)
    }
}
