//! Metrics of the service: name, unit, help and labels of each, and the function that records it. The
//! crates declare their own.
//!
//! Label values come from an enum, a route template or a status, never from a client, so that the number of
//! series is bounded. Without `METRICS_ADDR` nothing is recorded.

mod files;

use std::time::{Duration, Instant};

use metric_families::label_values;
pub use metric_families::{Family, Kind};
use metrics::{counter, gauge, histogram};

pub use files::{
    CopyChange, Repair, Scan, Verified, count_file_copies, count_file_copy, count_file_repair,
    count_file_sweep, count_verified_file, observe_file_scan, set_copy_time, set_files_verified,
    set_oldest_waiting_file,
};
pub use http_toolkit::metrics::{count_refused, set_max_connections, set_max_requests};
pub use telemetry::prometheus::{PROCESS, render, run_upkeep};
metric_families::families! {
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
    SCOPE_EXCEPTIONS "row_scope_exceptions_total" Counter Count ["exception"]
        "Transactions that may see rows of more than one account, by the reason."
    WEBHOOKS "stripe_webhooks_total" Counter Count ["outcome"]
        "Webhook requests of Stripe."
    WEBHOOK_LAG "stripe_webhook_lag_seconds" Gauge Seconds []
        "How long the oldest webhook event has waited to be processed; 0 if none waits."
    BILLING_DRIFT "billing_drift_total" Counter Count []
        "Subscriptions, and accounts by their usage, that were found to differ from Stripe."
    SEALED_ROWS "sealed_rows" Gauge Count ["column" "key"]
        "Encrypted values of a column, by the id of their key in ENCRYPTION_KEYS; unknown: not in the ring."
    ERASURES "account_erasures_total" Counter Count ["outcome"]
        "Attempts to erase a user whose time has come: erased, deferred, failed."
    DATA_REQUEST_AGE "data_request_oldest_seconds" Gauge Seconds []
        "Age of the oldest open request of the register, or time since the oldest erasure was due; 0 if there is none."
    RETENTION_OVERDUE "retention_overdue_seconds" Gauge Seconds ["rows"]
        "Age of the oldest row beyond its retention; 0 when no row is too old."
    WITHHELD_EMAILS "emails_withheld_total" Counter Count ["reason"]
        "Emails that were not sent: the recipient has not asked for them, or the address is suppressed."
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
const CACHE_FAMILIES: &[&str] = &[
    "plan",
    "second_factor",
    "synthetic_account",
    "pricing",
    "dashboard",
    "membership",
    "account_slug",
];

/// Families by crate.
const TABLES: [&[Family]; 13] = [
    FAMILIES,
    files::FAMILIES,
    cache::metrics::FAMILIES,
    crypto::metrics::FAMILIES,
    database::metrics::FAMILIES,
    email_transport::metrics::FAMILIES,
    http_toolkit::metrics::FAMILIES,
    job_queue::metrics::FAMILIES,
    object_store::metrics::FAMILIES,
    password_checks::metrics::FAMILIES,
    rate_limit::metrics::FAMILIES,
    redis_client::metrics::FAMILIES,
    stripe_client::metrics::FAMILIES,
];

/// Every family of the service and of its crates.
pub fn all() -> impl Iterator<Item = &'static Family> {
    TABLES.into_iter().flatten()
}

label_values! {
    /// What a call to a service around us came to.
    CallOutcome {
        Ok "ok"
        Refused "refused"
        Timeout "timeout"
        Unreachable "unreachable"
    }
}

/// The partitions of a table by month, whose name is a constant of ours.
pub fn set_partitions(table: &'static str, months_ahead: i32, default_rows: u32) {
    gauge!(PARTITION_MONTHS, "table" => table).set(f64::from(months_ahead));
    gauge!(PARTITION_DEFAULT_ROWS, "table" => table).set(f64::from(default_rows));
}

/// Values of a sealed column under a key of the ring, or under `unknown` ones.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub fn set_sealed_rows(column: &str, key: &str, rows: u64) {
    let labels = [("column", column.to_owned()), ("key", key.to_owned())];
    gauge!(SEALED_ROWS, &labels).set(rows as f64);
}

/// `exception` is a constant of ours; zero starts its series.
pub fn count_scope_exception(exception: &'static str, count: u64) {
    counter!(SCOPE_EXCEPTIONS, "exception" => exception).increment(count);
}

impl Webhook {
    pub fn count(self) {
        counter!(WEBHOOKS, "outcome" => self.as_str()).increment(1);
    }
}

/// How long the oldest webhook event has waited.
pub fn set_webhook_lag(seconds: f64) {
    gauge!(WEBHOOK_LAG).set(seconds);
}

pub fn count_billing_drift(subscriptions: usize) {
    counter!(BILLING_DRIFT).increment(subscriptions as u64);
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
    Webhook::init(WEBHOOKS, "outcome");
    files::init();
    Erasure::init(ERASURES, "outcome");
    for name in [LOG_LINES_DROPPED, USAGE_DROPPED, BILLING_DRIFT] {
        counter!(name).absolute(0);
    }
    crypto::metrics::init();
    object_store::metrics::init();
    http_toolkit::metrics::init();
    http_toolkit::metrics::init_refused("reports");
    cache::metrics::init(CACHE_FAMILIES);
    SignIn::init(SIGN_INS, "outcome");
    ApiKeyUse::init(API_KEYS, "outcome");
    TokenRefresh::init(TOKEN_REFRESHES, "outcome");
    CsrfRefusal::init(CSRF_REFUSALS, "reason");
    Quota::init(QUOTA_REFUSALS, "quota");
    for by in ["client", "account", "known", "reauthentication"] {
        counter!(SIGN_IN_WAITS, "by" => by).absolute(0);
    }
    for reason in ["consent", "bounce", "complaint", "manual"] {
        counter!(WITHHELD_EMAILS, "reason" => reason).absolute(0);
    }
    rate_limit::metrics::init();
    gauge!(USAGE_WAITING).set(0.0);
    gauge!(DATA_REQUEST_AGE).set(0.0);
}

label_values! {
    /// How an attempt to sign in ended.
    SignIn {
        SignedIn "signed_in"
        /// After too many failed attempts.
        Locked "locked"
        /// Wrong address or password.
        Refused "refused"
        /// Right password, unverified address.
        Unverified "unverified"
        /// Right password, disabled account.
        Disabled "disabled"
        /// Right password; the account is going to be deleted.
        DeletionPending "deletion_pending"
        /// Right password; a second factor is required.
        Asked "asked"
        /// Wrong code of the second factor, or too many.
        WrongCode "wrong_code"
        /// Second step without the first, or too late.
        Stale "stale"
        /// Hashing pool full.
        Busy "busy"
        /// Server error.
        Failed "failed"
    }
}

label_values! {
    /// How a webhook request ended.
    Webhook {
        Stored "stored"
        /// An event that was stored before.
        Repeated "repeated"
        /// Stored without an effect: another mode or account, or a type that changes nothing here.
        Ignored "ignored"
        /// Without a valid signature.
        Refused "refused"
        /// Server error.
        Failed "failed"
    }
}

label_values! {
    /// How the use of a refresh token ended.
    TokenRefresh {
        Rotated "rotated"
        /// Reused within the grace; the response has its successor.
        Repeated "repeated"
        /// Reused after the grace; the session is ended.
        Reused "reused"
        /// Unknown or expired.
        Refused "refused"
        /// Server error.
        Failed "failed"
    }
}

label_values! {
    /// How the authentication of an API key ended.
    ApiKeyUse {
        Accepted "accepted"
        /// Unknown, revoked or expired key, or wrong secret.
        Refused "refused"
        /// Disabled account.
        Disabled "disabled"
        OutOfScope "out_of_scope"
    }
}

pub fn count_sign_in(outcome: SignIn) {
    counter!(SIGN_INS, "outcome" => outcome.as_str()).increment(1);
}

/// Counts a lockout; `by` is what the failures were counted by, one of four names.
pub fn count_sign_in_wait(by: &'static str) {
    counter!(SIGN_IN_WAITS, "by" => by).increment(1);
}

/// `reason` is one of four names.
pub fn count_withheld_email(reason: &'static str) {
    counter!(WITHHELD_EMAILS, "reason" => reason).increment(1);
}

pub fn count_token_refresh(outcome: TokenRefresh) {
    counter!(TOKEN_REFRESHES, "outcome" => outcome.as_str()).increment(1);
}

pub fn count_api_key(outcome: ApiKeyUse) {
    counter!(API_KEYS, "outcome" => outcome.as_str()).increment(1);
}

label_values! {
    /// What a request with cookies lacks.
    CsrfRefusal {
        /// An allowed origin.
        Page "page"
        /// The CSRF token of its session.
        Token "token"
    }
}

pub fn count_csrf_refusal(reason: CsrfRefusal) {
    counter!(CSRF_REFUSALS, "reason" => reason.as_str()).increment(1);
}

pub fn set_waiting_usage(counts: usize) {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    gauge!(USAGE_WAITING).set(counts as f64);
}

pub fn observe_usage_flush(began: Instant, outcome: CallOutcome) {
    histogram!(USAGE_FLUSH, "outcome" => outcome.as_str()).record(began.elapsed());
}

pub fn count_dropped_usage() {
    counter!(USAGE_DROPPED).increment(1);
}

label_values! {
    /// How an attempt to erase a user ended.
    Erasure {
        Erased "erased"
        /// Something has to be settled first.
        Deferred "deferred"
        /// An outside service or the database did not respond.
        Failed "failed"
    }
}

pub fn count_erasure(outcome: Erasure) {
    counter!(ERASURES, "outcome" => outcome.as_str()).increment(1);
}

/// Age of the oldest request about personal data that is not done.
pub fn set_data_request_age(age: Duration) {
    gauge!(DATA_REQUEST_AGE).set(age.as_secs_f64());
}

pub fn set_retention_overdue(rows: &'static str, overdue: Duration) {
    gauge!(RETENTION_OVERDUE, "rows" => rows).set(overdue.as_secs_f64());
}

label_values! {
    /// A monthly quota of an account.
    Quota {
        Requests "requests"
        Events "events"
        EventBytes "event_bytes"
    }
}

pub fn count_quota_refusal(quota: Quota) {
    counter!(QUOTA_REFUSALS, "quota" => quota.as_str()).increment(1);
}
