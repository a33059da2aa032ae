//! A count per window, and the same with a name.

use std::fmt;
use std::time::Duration;

use settings::Setting;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// A count and a window, displayed as `100/60s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    max: u32,
    window: Duration,
}

impl Rate {
    /// `max` in any `window`: at least 1, in whole seconds.
    #[must_use]
    pub const fn new(max: u32, window: Duration) -> Self {
        Self { max, window }
    }

    /// `max` a minute, at least 1.
    #[must_use]
    pub const fn per_minute(max: u32) -> Self {
        Self::new(if max == 0 { 1 } else { max }, MINUTE)
    }

    /// This rate with a window of at most `longest`, in whole seconds.
    #[must_use]
    pub fn within(self, longest: Duration) -> Self {
        let longest = Duration::from_secs(longest.as_secs().max(1));
        Self::new(self.max, self.window.min(longest))
    }

    /// Count, at least 1.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.max
    }

    /// Window in whole seconds, at least 1.
    #[must_use]
    pub const fn window(self) -> Duration {
        self.window
    }

    /// Returns whether it allows everything that `other` does, at once and in the long run.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.max >= other.max && self.per_second() >= other.per_second()
    }

    fn per_second(self) -> f64 {
        f64::from(self.max) / self.window.as_secs_f64()
    }
}

/// Written `100/1m`.
impl Setting for Rate {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be a count and a window such as 100/1m: 1 to 1000000 in 1s to 1d, whole seconds"
                .to_owned()
        };
        let (max, window) = text.split_once('/').ok_or_else(wrong)?;
        let max = max.trim().parse().map_err(|_| wrong())?;
        let window = Duration::parse(window.trim()).map_err(|_| wrong())?;
        let fits = (1..=1_000_000).contains(&max)
            && (Duration::from_secs(1)..=DAY).contains(&window)
            && window.subsec_nanos() == 0;
        fits.then(|| Self::new(max, window)).ok_or_else(wrong)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.max, self.window.as_secs())
    }
}

/// A rate with a name. Counts are kept by the name and a [`Key`](crate::Key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    name: &'static str,
    rate: Rate,
    is_deferred: bool,
}

impl Limit {
    /// A named rate. Names are unique in a service.
    #[must_use]
    pub const fn new(name: &'static str, rate: Rate) -> Self {
        Self {
            name,
            rate,
            is_deferred: false,
        }
    }

    /// This limit, counted in the process first and in Redis a moment later while a key has used less than half of it. It may be
    /// exceeded by a tenth, by uses at several replicas in the same moment. See [`Limiter::count_deferred`](crate::Limiter::count_deferred).
    #[must_use]
    pub const fn deferred(self) -> Self {
        Self {
            is_deferred: true,
            ..self
        }
    }

    /// `max` a minute, at least 1.
    #[must_use]
    pub const fn per_minute(name: &'static str, max: u32) -> Self {
        Self::new(name, Rate::per_minute(max))
    }

    pub(crate) const fn is_deferred(self) -> bool {
        self.is_deferred
    }

    /// Name in Redis keys, headers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Count, at least 1.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.rate.max
    }

    /// Window in whole seconds, at least 1.
    #[must_use]
    pub const fn window(self) -> Duration {
        self.rate.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_covers_what_is_less_at_once_and_in_the_long_run() {
        let guard = Rate::new(100, MINUTE);
        assert!(guard.covers(Rate::new(100, MINUTE)));
        assert!(guard.covers(Rate::new(5, Duration::from_hours(1))));
        assert!(!guard.covers(Rate::new(101, Duration::from_hours(1))));
        assert!(!guard.covers(Rate::new(50, Duration::from_secs(1))));
    }

    #[test]
    fn a_rate_is_a_count_and_a_window() {
        for (text, rate) in [
            ("100/1m", Rate::new(100, MINUTE)),
            (" 3 / 1h ", Rate::new(3, Duration::from_hours(1))),
            ("5/900", Rate::new(5, Duration::from_mins(15))),
            ("1000000/1d", Rate::new(1_000_000, DAY)),
        ] {
            assert_eq!(Rate::parse(text), Ok(rate), "{text}");
        }
        for text in [
            "",
            "100",
            "/1m",
            "100/",
            "0/1m",
            "-1/1m",
            "1000001/1m",
            "1/0s",
            "1/500ms",
            "1/1500ms",
            "1/2d",
            "1/1m/1m",
        ] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
