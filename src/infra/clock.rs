//! The wall clock, injected so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time: the system's, or one that stands until a test moves it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start`; its clones move together.
    #[must_use]
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The time now, in whole microseconds as PostgreSQL keeps it.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            // Not `Utc::now`, which works the calendar out, to be asked for the microseconds again.
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_micros()).ok())
                .unwrap_or_default(),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// The time of a clock that a test moves; `None` of the system's.
    #[must_use]
    pub fn fixed_now(&self) -> Option<DateTime<Utc>> {
        self.0.is_some().then(|| self.now())
    }

    /// Moves a fixed clock on; the system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(fixed) = &self.0 {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            fixed.fetch_add(micros, Ordering::SeqCst);
        }
    }
}

/// `time` less a configured duration, at the calendar's beginning when it would pass it.
#[must_use]
pub(crate) fn before(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_sub_signed(by))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// `time` plus a configured duration, at the calendar's end when it would pass it.
#[must_use]
pub(crate) fn after(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
