//! Metrics of the server and its middleware. Handles are kept by series, since building labels again would
//! cost each request more than counting does.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::Method;
use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use telemetry::prometheus::is_installed;

metric_families::families! {
    HTTP_REQUESTS "http_requests_total" Counter Count ["method" "route" "status"]
        "Responses; status 499 is a client that left before its response."
    HTTP_DURATION "http_request_duration_seconds" Histogram Seconds ["method" "route" "class"]
        "From a request's head to its response's head, by class of status."
    HTTP_IN_FLIGHT "http_requests_in_flight" Gauge Count []
        "Requests that wait for their response."
    HTTP_CONNECTIONS "http_connections" Gauge Count []
        "Open client connections."
    HTTP_MAX_CONNECTIONS "http_max_connections" Gauge Count []
        "Client connections at most (HTTP_MAX_CONNECTIONS)."
    HTTP_MAX_REQUESTS "http_max_requests" Gauge Count []
        "Requests handled at once at most (HTTP_MAX_REQUESTS)."
    REQUESTS_REFUSED "requests_refused_total" Counter Count ["by"]
        "Requests rejected by a limit, the guard, the cap on requests (load) or a deny-list."
    HTTP_REFUSED "http_connections_refused_total" Counter Count []
        "Connections rejected above the cap."
}

/// Starts every series at zero, since Prometheus sees an increase between two samples only.
pub fn init() {
    counter!(HTTP_REFUSED).absolute(0);
    for by in [
        "guard",
        "load",
        "load-client",
        "network",
        "user_agent",
        "country",
    ] {
        init_refused(by);
    }
    gauge!(HTTP_IN_FLIGHT).set(0.0);
    gauge!(HTTP_CONNECTIONS).set(0.0);
}

/// Starts the series of another reason for [`count_refused`] at zero.
pub fn init_refused(by: &'static str) {
    counter!(REQUESTS_REFUSED, "by" => by).absolute(0);
}

/// Counts a rejected request; `by` is the name of a rate limit or another bound, a constant.
pub fn count_refused(by: &'static str) {
    counter!(REQUESTS_REFUSED, "by" => by).increment(1);
}

/// Counts a connection above the cap.
pub(super) fn count_refused_connection() {
    counter!(HTTP_REFUSED).increment(1);
}

/// Records the cap on connections.
pub fn set_max_connections(max: usize) {
    gauge!(HTTP_MAX_CONNECTIONS).set(whole(max));
}

/// Records the cap on requests that are handled at once.
pub fn set_max_requests(max: usize) {
    gauge!(HTTP_MAX_REQUESTS).set(whole(max));
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^52")]
fn whole(number: usize) -> f64 {
    number as f64
}

type MethodAndStatus = (&'static str, u16);

#[derive(Clone)]
struct Series {
    count: Counter,
    duration: Histogram,
}

/// By route, then by method and status. Each request looks here, and nobody outside chooses the keys.
type Known = HashMap<String, HashMap<MethodAndStatus, Series, RandomState>, RandomState>;

static SERIES: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

static IN_FLIGHT: LazyLock<Gauge> = LazyLock::new(|| gauge!(HTTP_IN_FLIGHT));
static CONNECTED: LazyLock<Gauge> = LazyLock::new(|| gauge!(HTTP_CONNECTIONS));

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Option<&'static Gauge>);

impl InFlight {
    /// Counts a request in.
    pub(super) fn begin() -> Self {
        Self(up(&IN_FLIGHT))
    }

    /// Counts its response; `route` is the template.
    pub(super) fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
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
pub(super) struct OpenConnection(Option<&'static Gauge>);

impl OpenConnection {
    /// Counts a connection in.
    pub(super) fn begin() -> Self {
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
