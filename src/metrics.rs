//! Metrics of the service: name, unit, help and labels of each, and the function that records it. The
//! crates declare their own.
//!
//! Label values come from an enum, a route template or a status, never from a client, so that the number of
//! series is bounded. Without `METRICS_ADDR` nothing is recorded.

mod credentials;
mod usage;

pub use metric_families::{Family, Kind};
use metrics::{counter, gauge};

pub use credentials::{
    ApiKeyUse, CsrfRefusal, SignIn, TokenRefresh, count_api_key, count_csrf_refusal, count_sign_in,
    count_sign_in_wait, count_token_refresh,
};
pub use http_toolkit::metrics::{count_refused, set_max_connections, set_max_requests};
pub use telemetry::prometheus::{PROCESS, render, run_upkeep};
pub use usage::{
    Quota, count_dropped_usage, count_quota_refusal, observe_usage_flush, set_waiting_usage,
};

metric_families::families! {
    JOBS_WAITING "jobs_waiting" Gauge Count []
        "Jobs that are due and not begun; the same on every replica."
    JOBS_OLDEST "jobs_oldest_seconds" Gauge Seconds []
        "How long the oldest of them has been due."
    JOBS_DEAD "jobs_dead" Gauge Count []
        "Jobs given up after their last try."
    JOBS "jobs_total" Counter Count ["task" "outcome"]
        "Tries of jobs."
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
const TABLES: [&[Family]; 9] = [
    FAMILIES,
    cache::metrics::FAMILIES,
    crypto::metrics::FAMILIES,
    database::metrics::FAMILIES,
    email_transport::metrics::FAMILIES,
    http_toolkit::metrics::FAMILIES,
    password_checks::metrics::FAMILIES,
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
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

use outcomes;

outcomes! {
    /// How an attempt of a job ended.
    JobOutcome {
        Done "done"
        Retried "retried"
        Dead "dead"
    }
}

outcomes! {
    /// What a call to a service around us came to.
    CallOutcome {
        Ok "ok"
        Refused "refused"
        Timeout "timeout"
        Unreachable "unreachable"
    }
}

/// `None` sets the gauges to NaN, since a last good value would hide that the queue cannot be read.
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

/// State of the job queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Due and not started.
    pub waiting: f64,
    /// How long the oldest due job has waited.
    pub oldest_seconds: f64,
    pub dead: f64,
}

/// Counts an attempt; `task` is a job's identifier.
pub fn count_job(task: &str, outcome: JobOutcome) {
    counter!(JOBS, "task" => task.to_owned(), "outcome" => outcome.as_str()).increment(1);
}

/// The partitions of a table by month, whose name is a constant of ours.
pub fn set_partitions(table: &'static str, months_ahead: i32, default_rows: u32) {
    gauge!(PARTITION_MONTHS, "table" => table).set(f64::from(months_ahead));
    gauge!(PARTITION_DEFAULT_ROWS, "table" => table).set(f64::from(default_rows));
}

/// `lines` is the total since the start.
pub fn set_dropped_log_lines(lines: u64) {
    counter!(LOG_LINES_DROPPED).absolute(lines);
}

/// Starts recording. A second call does nothing.
pub fn start(version: &str, commit: Option<&str>) -> Result<(), telemetry::prometheus::BuildError> {
    if telemetry::prometheus::install(&TABLES)? {
        begin(version, commit.unwrap_or("unknown"));
    }
    Ok(())
}

/// Series that exist from the start: Prometheus computes an increase between two samples, so that the first event
/// of a series that begins with it would be lost.
fn begin(version: &str, commit: &str) {
    gauge!(BUILD_INFO, "version" => version.to_owned(), "commit" => commit.to_owned()).set(1.0);
    for name in [LOG_LINES_DROPPED, USAGE_DROPPED] {
        counter!(name).absolute(0);
    }
    crypto::metrics::init();
    http_toolkit::metrics::init();
    http_toolkit::metrics::init_refused("reports");
    cache::metrics::init(&CACHE_FAMILIES);
    credentials::begin();
    usage::begin();
    rate_limit::metrics::init();
    gauge!(USAGE_WAITING).set(0.0);
}

fn zero<T: Copy>(
    counter: &'static str,
    label: &'static str,
    values: &[T],
    text: fn(T) -> &'static str,
) {
    for value in values {
        counter!(counter, label => text(*value)).absolute(0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn whole(number: usize) -> f64 {
    number as f64
}
