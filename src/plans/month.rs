//! Calendar month, the period of quotas.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

/// Calendar month in UTC. Quotas use it whatever the billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(NaiveDate);

impl Month {
    #[must_use]
    pub fn of(time: DateTime<Utc>) -> Self {
        let day = time.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    /// Consecutive number: months since the year 0.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0.year() * 12 + i32::try_from(self.0.month0()).unwrap_or_default()
    }

    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.0
    }

    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        self.0.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// Start of the next month.
    #[must_use]
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
