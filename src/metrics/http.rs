//! HTTP requests and connections. Handles are kept by series, since building labels costs each request more than
//! counting.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::Method;
use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use telemetry::prometheus::is_installed;

use super::{HTTP_CONNECTIONS, HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS};

type MethodStatus = (&'static str, u16);

#[derive(Clone)]
struct Series {
    count: Counter,
    duration: Histogram,
}

/// By route, then by method and status. Clients cannot choose the keys.
type Known = HashMap<String, HashMap<MethodStatus, Series, RandomState>, RandomState>;

static SERIES: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

static IN_FLIGHT: LazyLock<Gauge> = LazyLock::new(|| gauge!(HTTP_IN_FLIGHT));
static CONNECTED: LazyLock<Gauge> = LazyLock::new(|| gauge!(HTTP_CONNECTIONS));

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Option<&'static Gauge>);

impl InFlight {
    #[must_use]
    pub fn begin() -> Self {
        Self(up(&IN_FLIGHT))
    }

    /// Counts the response; `route` is the template.
    pub fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        if self.0.is_some() {
            let series = series(verb(method), route, status);
            series.count.increment(1);
            series.duration.record(took);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.decrement(1.0);
        }
    }
}

/// An open client connection, until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Option<&'static Gauge>);

impl OpenConnection {
    #[must_use]
    pub fn begin() -> Self {
        Self(up(&CONNECTED))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.decrement(1.0);
        }
    }
}

fn up(gauge: &'static LazyLock<Gauge>) -> Option<&'static Gauge> {
    let gauge: &Gauge = is_installed().then_some(gauge)?;
    gauge.increment(1.0);
    Some(gauge)
}

fn series(method: &'static str, route: &str, status: u16) -> Series {
    let known = SERIES.read().unwrap_or_else(PoisonError::into_inner);
    let responses = known.get(route);
    if let Some(series) = responses.and_then(|responses| responses.get(&(method, status))) {
        return series.clone();
    }
    drop(known);
    let text = route.to_owned();
    let series = Series {
        count: counter!(HTTP_REQUESTS,
            "method" => method, "route" => text.clone(), "status" => status.to_string()),
        duration: histogram!(HTTP_DURATION,
            "method" => method, "route" => text.clone(), "class" => class(status)),
    };
    let mut known = SERIES.write().unwrap_or_else(PoisonError::into_inner);
    let responses = known.entry(text).or_default();
    responses.insert((method, status), series.clone());
    series
}

/// Unknown methods are one label value, since clients can invent them.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
