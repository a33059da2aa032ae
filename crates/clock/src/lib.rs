//! Injected time and randomness. In production the clock is the database's, so that times which
//! replicas compare are all of one clock.

mod id;
mod month;
mod rng;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

pub use id::{uuid_v7, uuid_v7_time};
pub use month::Month;
pub use rng::Rng;

/// Samples that took longer are ignored: a sample is off by half the round trip at worst.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Wall clock of the process; clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// The database's clock by the last sample, and the monotonic clock since.
    Database(Arc<Following>),
    Fixed(Arc<AtomicI64>),
}

#[derive(Debug)]
struct Following {
    started: Instant,
    /// Microseconds since 1970 at `started`, by the database's clock.
    base: AtomicI64,
    is_synchronized: AtomicBool,
}

/// One reading of the database's clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockSample {
    /// Before the query was sent.
    pub asked: Instant,
    /// After its result was received.
    pub replied: Instant,
    /// The result, in microseconds since 1970.
    pub micros: i64,
}

impl Clock {
    /// The system's wall clock, for what never leaves this process, such as log timestamps.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that follows the database's. Until the first sample it runs from the system's time.
    #[must_use]
    pub fn database() -> Self {
        Self::database_from(system_micros())
    }

    /// [`Clock::database`] that is off by `by` until the first sample, for tests.
    #[must_use]
    pub fn database_skewed(by: TimeDelta) -> Self {
        let skew = by.num_microseconds().unwrap_or_default();
        Self::database_from(system_micros().saturating_add(skew))
    }

    fn database_from(micros: i64) -> Self {
        Self(Source::Database(Arc::new(Following {
            started: Instant::now(),
            base: AtomicI64::new(micros),
            is_synchronized: AtomicBool::new(false),
        })))
    }

    /// A clock that stands at `start` until it is advanced.
    #[must_use]
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(
            start.timestamp_micros(),
        ))))
    }

    /// The time now, in whole microseconds as PostgreSQL keeps it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Source::System => system_micros(),
            Source::Database(following) => following.now(),
            Source::Fixed(fixed) => fixed.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// The time of a fixed clock; `None` for others.
    #[must_use]
    pub fn fixed_now(&self) -> Option<DateTime<Utc>> {
        matches!(self.0, Source::Fixed(_)).then(|| self.now())
    }

    /// Advances a fixed clock; no effect on others.
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(fixed) = &self.0 {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            fixed.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Corrects a clock that follows the database's; no effect on others.
    pub fn correct(&self, sample: ClockSample) {
        if let Source::Database(following) = &self.0 {
            following.correct(sample);
        }
    }

    /// How far the system's clock is ahead of the database's; `None` before the first sample.
    #[must_use]
    pub fn system_ahead(&self) -> Option<TimeDelta> {
        let Source::Database(following) = &self.0 else {
            return None;
        };
        let is_known = following.is_synchronized.load(Ordering::Relaxed);
        is_known.then(|| TimeDelta::microseconds(system_micros() - following.now()))
    }
}

impl Following {
    fn now(&self) -> i64 {
        let base = self.base.load(Ordering::Relaxed);
        base.saturating_add(micros(self.started.elapsed()))
    }

    fn correct(&self, sample: ClockSample) {
        let round_trip = sample.replied.saturating_duration_since(sample.asked);
        let is_known = self.is_synchronized.load(Ordering::Relaxed);
        if is_known && round_trip > LONGEST_ROUND_TRIP {
            return;
        }
        // Assumes that the database read its clock half way through the round trip.
        let replied = sample.replied.saturating_duration_since(self.started);
        let middle = micros(replied) - micros(round_trip / 2);
        let base = sample.micros.saturating_sub(middle);
        let difference = base.abs_diff(self.base.load(Ordering::Relaxed));
        // No correction within the precision of the sample, so that the clock does not jitter.
        if !is_known || difference > u64::try_from(micros(round_trip)).unwrap_or_default() {
            self.base.store(base, Ordering::Relaxed);
        }
        self.is_synchronized.store(true, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only read of the system's clock"
)]
fn system_micros() -> i64 {
    // `Utc::now` would compute the calendar date first.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(micros)
        .unwrap_or_default()
}

/// `time - by`, saturating.
#[must_use]
pub fn before(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_sub_signed(by))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// `time + by`, saturating.
#[must_use]
pub fn after(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Corrects a clock by a sample of a database that is ahead by so many seconds.
    fn sample(clock: &Clock, ahead: i64, round_trip: Duration) {
        let replied = Instant::now();
        let half = micros(round_trip / 2);
        clock.correct(ClockSample {
            asked: replied.checked_sub(round_trip).expect("it ran for longer"),
            replied,
            micros: system_micros() + ahead * 1_000_000 - half,
        });
    }

    fn ahead(clock: &Clock) -> f64 {
        let ahead = -clock.system_ahead().expect("it is known");
        ahead.as_seconds_f64()
    }

    fn is_about(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 0.2
    }

    #[test]
    fn a_clock_follows_the_database_however_wrong_the_system_is() {
        for skew in [-600, -20, 0, 20, 600] {
            let clock = Clock::database_skewed(TimeDelta::seconds(skew));
            assert_eq!(clock.system_ahead(), None, "nothing is known yet");
            for database in [0, 30, -30, 3_600] {
                sample(&clock, database, Duration::from_millis(1));
                #[expect(clippy::cast_precision_loss, reason = "they are small")]
                let wanted = database as f64;
                assert!(is_about(ahead(&clock), wanted), "{skew} {database}");
            }
        }
    }

    #[test]
    fn a_slow_sample_is_better_than_none_and_worse_than_any_other() {
        let clock = Clock::database_skewed(TimeDelta::seconds(20));
        sample(&clock, 0, Duration::from_millis(500));
        assert!(is_about(ahead(&clock), 0.0), "the first one counts");
        sample(&clock, 100, Duration::from_millis(500));
        assert!(is_about(ahead(&clock), 0.0), "a slow one is not believed");
        sample(&clock, 100, Duration::from_millis(50));
        assert!(is_about(ahead(&clock), 100.0));
    }

    #[test]
    fn a_clock_does_not_go_back_by_what_a_sample_cannot_tell() {
        let clock = Clock::database();
        sample(&clock, 0, Duration::from_millis(1));
        let mut last = clock.now();
        for _ in 0..1_000 {
            let replied = Instant::now();
            clock.correct(ClockSample {
                asked: replied
                    .checked_sub(Duration::from_millis(80))
                    .expect("it ran for longer"),
                replied,
                micros: system_micros() - 60_000, // read early on the way
            });
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn other_clocks_are_not_corrected() {
        let fixed = Clock::fixed(DateTime::<Utc>::UNIX_EPOCH);
        sample(&fixed, 100, Duration::from_millis(1));
        assert_eq!(fixed.now(), DateTime::<Utc>::UNIX_EPOCH);
        assert_eq!(fixed.system_ahead(), None);
        assert_eq!(Clock::system().system_ahead(), None);
    }
}
