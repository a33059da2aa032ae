//! Results by route: how long replies took, and what failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A request of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Route {
    Me,
    Dashboard,
    Usage,
    Organisations,
    Files,
    Rename,
    Event,
    Upload,
    DeleteFile,
    Refresh,
    SignOut,
    SignIn,
}

impl Route {
    pub(super) const ALL: &[Self] = &[
        Self::Me,
        Self::Dashboard,
        Self::Usage,
        Self::Organisations,
        Self::Files,
        Self::Rename,
        Self::Event,
        Self::Upload,
        Self::DeleteFile,
        Self::Refresh,
        Self::SignOut,
        Self::SignIn,
    ];

    /// Method and path, for a table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Me => "GET /users/me",
            Self::Dashboard => "GET /dashboard",
            Self::Usage => "GET /usage",
            Self::Organisations => "GET /organisations",
            Self::Files => "GET /files",
            Self::Rename => "PATCH /users/me",
            Self::Event => "POST /events",
            Self::Upload => "POST /files/upload",
            Self::DeleteFile => "DELETE /files/{id}",
            Self::Refresh => "POST /auth/refresh",
            Self::SignOut => "POST /auth/logout",
            Self::SignIn => "POST /auth/login",
        }
    }

    /// Path below `/api/v1`.
    pub(super) fn path(self) -> &'static str {
        let (_, path) = self.name().split_once(' ').unwrap_or_default();
        path
    }

    /// `true` for what needs an object store.
    pub(super) const fn needs_store(self) -> bool {
        matches!(self, Self::Upload | Self::DeleteFile)
    }

    pub(super) const fn is_sign_in_or_out(self) -> bool {
        matches!(self, Self::SignIn | Self::SignOut)
    }
}

/// Results of one or more users.
#[derive(Default)]
pub(super) struct Samples {
    began: Option<Instant>,
    /// When a request was sent, counted from the beginning, and how long its reply took.
    took: BTreeMap<Route, Vec<(Duration, Duration)>>,
    failed: BTreeMap<(Route, String), usize>,
}

/// Percentiles of the replies to some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) p50: Duration,
    pub(super) p95: Duration,
    pub(super) p99: Duration,
}

impl Percentiles {
    /// By nearest rank; zero of none.
    pub(super) fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let rank = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100);
            took.get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        }
    }
}

impl Samples {
    pub(super) fn since(began: Instant) -> Self {
        Self {
            began: Some(began),
            ..Self::default()
        }
    }

    pub(super) fn record(&mut self, route: Route, sent: Instant, took: Duration) {
        let at = self.began.map_or(Duration::ZERO, |began| sent - began);
        self.took.entry(route).or_default().push((at, took));
    }

    pub(super) fn fail(&mut self, route: Route, what: String) {
        *self.failed.entry((route, what)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (route, took) in other.took {
            self.took.entry(route).or_default().extend(took);
        }
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
    }

    /// Good replies of a route.
    pub(super) fn replies(&self, route: Route) -> usize {
        self.took.get(&route).map_or(0, Vec::len)
    }

    /// Failed requests of a route.
    pub(super) fn errors(&self, route: Route) -> usize {
        let of_route = self.failed.iter().filter(|((it, _), _)| *it == route);
        of_route.map(|(_, count)| count).sum()
    }

    /// Good and failed requests, and the failed ones alone.
    pub(super) fn totals(&self) -> (usize, usize) {
        let errors = self.failed.values().sum();
        let replies: usize = self.took.values().map(Vec::len).sum();
        (replies + errors, errors)
    }

    /// Failures with their counts, the most frequent first.
    pub(super) fn failures(&self) -> Vec<(Route, &str, usize)> {
        let all = self.failed.iter();
        let mut all: Vec<_> = all
            .map(|((route, what), count)| (*route, &**what, *count))
            .collect();
        all.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        all
    }

    pub(super) fn percentiles(&self, route: Route) -> Percentiles {
        let took = self.took.get(&route).into_iter().flatten();
        Percentiles::of(took.map(|(_, took)| *took).collect())
    }

    /// Of all routes but sign-in.
    pub(super) fn signed_in(&self) -> Percentiles {
        let took = self.replies_signed_in().map(|(_, took)| took);
        Percentiles::of(took.collect())
    }

    /// The same by spans of time. Returns the end of each span in seconds.
    pub(super) fn over_time(&self, span: Duration) -> Vec<(f64, Percentiles)> {
        let mut spans: BTreeMap<u32, Vec<Duration>> = BTreeMap::new();
        for (at, took) in self.replies_signed_in() {
            let number = at.div_duration_f64(span).floor();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "there are few spans"
            )]
            spans.entry(number as u32).or_default().push(took);
        }
        let ends = spans.into_iter().map(|(number, took)| {
            let end = span.as_secs_f64() * f64::from(number + 1);
            (end, Percentiles::of(took))
        });
        ends.collect()
    }

    fn replies_signed_in(&self) -> impl Iterator<Item = (Duration, Duration)> {
        let routes = self
            .took
            .iter()
            .filter(|(route, _)| **route != Route::SignIn);
        routes.flat_map(|(_, took)| took.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let took = |count: u64| (1..=count).rev().map(Duration::from_millis).collect();
        let of_hundred = Percentiles::of(took(100));
        assert_eq!(of_hundred.p50, Duration::from_millis(50));
        assert_eq!(of_hundred.p95, Duration::from_millis(95));
        assert_eq!(of_hundred.p99, Duration::from_millis(99));
        assert_eq!(Percentiles::of(took(1)).p95, Duration::from_millis(1));
        assert_eq!(Percentiles::of(took(20)).p95, Duration::from_millis(19));
        assert_eq!(Percentiles::of(took(0)), Percentiles::default());
    }

    #[test]
    fn sign_in_is_not_among_the_signed_in_routes() {
        let began = Instant::now();
        let mut samples = Samples::since(began);
        samples.record(Route::SignIn, began, Duration::from_secs(9));
        samples.record(
            Route::Me,
            began + Duration::from_secs(7),
            Duration::from_millis(3),
        );
        let mut other = Samples::since(began);
        other.fail(Route::Me, "503 busy".to_owned());
        samples.add(other);
        assert_eq!(samples.signed_in().p99, Duration::from_millis(3));
        assert_eq!(samples.totals(), (3, 1));
        assert_eq!(samples.errors(Route::Me), 1);
        let over_time = samples.over_time(Duration::from_secs(5));
        assert_eq!(over_time, [(10.0, samples.signed_in())]);
    }
}
