//! A count per window, and the same with a name.

use std::fmt;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

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
}

impl Limit {
    /// A named rate. Names are unique in a service.
    #[must_use]
    pub const fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate }
    }

    /// `max` a minute, at least 1.
    #[must_use]
    pub const fn per_minute(name: &'static str, max: u32) -> Self {
        Self::new(name, Rate::per_minute(max))
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
}
