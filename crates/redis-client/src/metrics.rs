//! Metrics of Redis.

use std::time::Instant;

use metrics::{gauge, histogram};

use crate::RedisError;

metric_families::families! {
    REDIS_DURATION "redis_command_duration_seconds" Histogram Seconds ["outcome"]
        "Commands to Redis."
    REDIS_UP "redis_up" Gauge Count []
        "1 while Redis answers, 0 while nobody asks it because it does not."
}

/// Records whether Redis is available.
pub fn set_up(up: bool) {
    gauge!(REDIS_UP).set(if up { 1.0 } else { 0.0 });
}

pub(crate) fn observe_command<T>(began: Instant, reply: &Result<T, RedisError>) {
    let outcome = match reply {
        Ok(_) => "ok",
        Err(error) if error.is_timeout() => "timeout",
        Err(error) if error.is_failure() => "unreachable",
        Err(_) => "refused",
    };
    histogram!(REDIS_DURATION, "outcome" => outcome).record(began.elapsed());
}
