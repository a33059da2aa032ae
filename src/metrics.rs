//! Metrics of the service: name, unit, help and labels of each, and the function that records it. The
//! crates declare their own.
//!
//! A label takes its values from an enum, from a route's template or from a status, never from what
//! a client sent, so that the number of series is bounded whatever comes in. To add a metric, add a
//! line to the table and a function below it. Without `METRICS_ADDR` nothing is recorded.

mod credentials;
mod csrf;
mod http;
mod limits;
mod usage;

use std::time::Instant;

pub use metric_families::{Family, Kind};
use metrics::{counter, gauge, histogram};

pub use credentials::{
    ApiKeyUse, SignIn, TokenRefresh, count_api_key, count_sign_in, count_sign_in_wait,
    count_token_refresh,
};
pub use csrf::{CsrfRefusal, count_csrf_refusal};
pub use http::{InFlight, OpenConnection};
pub use limits::{count_refused, set_max_requests};
pub use telemetry::prometheus::{PROCESS, render, run_upkeep};
pub use usage::{
    Quota, count_dropped_usage, count_quota_refusal, observe_usage_flush, set_waiting_usage,
};

metric_families::families! {
    HTTP_REQUESTS "http_requests_total" Counter Count ["method" "route" "status"]
        "Requests answered; status 499 is a client that left before its answer."
    HTTP_DURATION "http_request_duration_seconds" Histogram Seconds ["method" "route" "class"]
        "From a request's head to its answer's head, by class of status."
    HTTP_IN_FLIGHT "http_requests_in_flight" Gauge Count []
        "Requests that wait for their answer."
    HTTP_CONNECTIONS "http_connections" Gauge Count []
        "Open client connections."
    HTTP_MAX_CONNECTIONS "http_max_connections" Gauge Count []
        "Client connections at most (HTTP_MAX_CONNECTIONS)."
    HTTP_MAX_REQUESTS "http_max_requests" Gauge Count []
        "Requests answered at once at most (HTTP_MAX_REQUESTS)."
    REQUESTS_REFUSED "requests_refused_total" Counter Count ["by"]
        "Requests turned away by a limit, the guard, the cap on requests (load) or a deny-list."
    HTTP_REFUSED "http_connections_refused_total" Counter Count []
        "Connections turned away above the cap."
    JOBS_WAITING "jobs_waiting" Gauge Count []
        "Jobs that are due and not begun; the same on every replica."
    JOBS_OLDEST "jobs_oldest_seconds" Gauge Seconds []
        "How long the oldest of them has been due."
    JOBS_DEAD "jobs_dead" Gauge Count []
        "Jobs given up after their last try."
    JOBS "jobs_total" Counter Count ["task" "outcome"]
        "Tries of jobs."
    BREACH_CHECKS "breach_check_duration_seconds" Histogram Seconds ["outcome"]
        "New passwords looked up among those of known breaches."
    SIGN_INS "sign_ins_total" Counter Count ["outcome"]
        "Attempts to sign in."
    SIGN_IN_WAITS "sign_in_waits_total" Counter Count ["by"]
        "Waits begun after too many wrong passwords, of a client, an account, a client known to it, or a session."
    TOKEN_REFRESHES "token_refreshes_total" Counter Count ["outcome"]
        "Refresh tokens presented."
    CSRF_REFUSALS "csrf_refusals_total" Counter Count ["reason"]
        "Calls with cookies that are not shown to come from a page of ours, or from one in the session."
    API_KEYS "api_key_requests_total" Counter Count ["outcome"]
        "Requests that came with an API key in good form."
    USAGE_WAITING "usage_counts_waiting" Gauge Count []
        "Counts of requests that are not written yet, looked at when they are written."
    USAGE_FLUSH "usage_flush_duration_seconds" Histogram Seconds ["outcome"]
        "Writing counts of requests, a batch each."
    USAGE_DROPPED "usage_requests_dropped_total" Counter Count []
        "Requests that were not counted, since too many counts waited to be written (USAGE_BUFFER)."
    QUOTA_REFUSALS "quota_refusals_total" Counter Count ["quota"]
        "Requests rejected because a monthly quota of their account is used up: requests, events, event_bytes."
    PARTITION_MONTHS "partition_months_ahead" Gauge Count ["table"]
        "Months after this one that have a partition, without a gap; -1 when this one has none."
    PARTITION_DEFAULT_ROWS "partition_default_rows" Gauge Count ["table"]
        "Rows in the default partition, counted up to 100,000."
    LOG_LINES_DROPPED "log_lines_dropped_total" Counter Count []
        "Lines of the log that nobody read in time."
    BUILD_INFO "build_info" Gauge Count ["version" "commit"]
        "Always 1; its labels name the build."
}

/// Names of cache families, whose lookups are counted.
const CACHE_FAMILIES: [&str; 4] = ["plan", "second_factor", "pricing", "dashboard"];

/// Families by crate.
const TABLES: [&[Family]; 7] = [
    FAMILIES,
    cache::metrics::FAMILIES,
    crypto::metrics::FAMILIES,
    database::metrics::FAMILIES,
    email_transport::metrics::FAMILIES,
    rate_limit::metrics::FAMILIES,
    redis_client::metrics::FAMILIES,
];

/// Every family of the service and of its crates.
pub fn all() -> impl Iterator<Item = &'static Family> {
    TABLES.into_iter().flatten()
}

macro_rules! outcomes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value of the label.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

use outcomes;

outcomes! {
    /// How a try of a job ended.
    JobOutcome {
        /// It did its work.
        Done "done"
        /// It is tried again.
        Retried "retried"
        /// It is given up.
        Dead "dead"
    }
}

outcomes! {
    /// What looking a password up among those of known breaches came to.
    BreachCheck {
        /// It is among them.
        Known "known"
        /// It is not.
        Unknown "unknown"
        /// No answer came in time.
        Timeout "timeout"
        /// There is no connection.
        Unreachable "unreachable"
        /// The answer was a refusal.
        Refused "refused"
        /// The answer was no list of hashes.
        Malformed "malformed"
    }
}

outcomes! {
    /// What a call to a service around us came to.
    CallOutcome {
        /// It was answered.
        Ok "ok"
        /// It was refused.
        Refused "refused"
        /// No answer came in time.
        Timeout "timeout"
        /// There is no connection.
        Unreachable "unreachable"
    }
}

/// The state of the queue; `None` when it cannot be told, which a last good value would hide.
pub fn set_queue(queue: Option<Queue>) {
    let unknown = Queue {
        waiting: f64::NAN,
        oldest_seconds: f64::NAN,
        dead: f64::NAN,
    };
    let queue = queue.unwrap_or(unknown);
    gauge!(JOBS_WAITING).set(queue.waiting);
    gauge!(JOBS_OLDEST).set(queue.oldest_seconds);
    gauge!(JOBS_DEAD).set(queue.dead);
}

/// The state of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Jobs that are due and not begun.
    pub waiting: f64,
    /// How long the oldest of them has been due.
    pub oldest_seconds: f64,
    /// Jobs given up.
    pub dead: f64,
}

/// One try of a job; `task` is one of those that the worker defines.
pub fn count_job(task: &str, outcome: JobOutcome) {
    counter!(JOBS, "task" => task.to_owned(), "outcome" => outcome.as_str()).increment(1);
}

/// A password that was looked up among those of known breaches, from `began` on.
pub fn observe_breach_check(began: Instant, outcome: BreachCheck) {
    histogram!(BREACH_CHECKS, "outcome" => outcome.as_str()).record(began.elapsed());
}

/// A connection above the cap.
pub fn count_refused_connection() {
    counter!(HTTP_REFUSED).increment(1);
}

/// The cap on connections.
pub fn set_max_connections(max: usize) {
    gauge!(HTTP_MAX_CONNECTIONS).set(whole(max));
}

/// The partitions of a table by month, whose name is a constant of ours.
pub fn set_partitions(table: &'static str, months_ahead: i32, default_rows: u32) {
    gauge!(PARTITION_MONTHS, "table" => table).set(f64::from(months_ahead));
    gauge!(PARTITION_DEFAULT_ROWS, "table" => table).set(f64::from(default_rows));
}

/// Lines of the log that were dropped since the start.
pub fn set_dropped_log_lines(lines: u64) {
    counter!(LOG_LINES_DROPPED).absolute(lines);
}

/// Starts recording, for the life of the process; a second time does nothing.
pub fn start(version: &str, commit: Option<&str>) -> Result<(), telemetry::prometheus::BuildError> {
    if telemetry::prometheus::install(&TABLES)? {
        begin(version, commit.unwrap_or("unknown"));
    }
    Ok(())
}

/// What can be told at the start: the build, and zeros where a first event would go unseen, since
/// Prometheus sees an increase between two samples only.
fn begin(version: &str, commit: &str) {
    gauge!(BUILD_INFO, "version" => version.to_owned(), "commit" => commit.to_owned()).set(1.0);
    for name in [HTTP_REFUSED, LOG_LINES_DROPPED, USAGE_DROPPED] {
        counter!(name).absolute(0);
    }
    for outcome in SignIn::ALL {
        counter!(SIGN_INS, "outcome" => outcome.as_str()).absolute(0);
    }
    for outcome in ApiKeyUse::ALL {
        counter!(API_KEYS, "outcome" => outcome.as_str()).absolute(0);
    }
    crypto::metrics::init();
    cache::metrics::init(&CACHE_FAMILIES);
    csrf::begin();
    usage::begin();
    limits::begin();
    rate_limit::metrics::init();
    for by in ["client", "account", "known", "reauthentication"] {
        counter!(SIGN_IN_WAITS, "by" => by).absolute(0);
    }
    for outcome in TokenRefresh::ALL {
        counter!(TOKEN_REFRESHES, "outcome" => outcome.as_str()).absolute(0);
    }
    gauge!(HTTP_IN_FLIGHT).set(0.0);
    gauge!(USAGE_WAITING).set(0.0);
    gauge!(HTTP_CONNECTIONS).set(0.0);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^52 connections nobody counts"
)]
fn whole(number: usize) -> f64 {
    number as f64
}
