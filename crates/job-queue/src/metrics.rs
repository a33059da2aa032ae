//! Metrics of the queue.

use metrics::{counter, gauge};

use crate::QueueState;

metric_families::families! {
    JOBS_WAITING "jobs_waiting" Gauge Count []
        "Jobs that are due and not begun; the same on every replica."
    JOBS_OLDEST "jobs_oldest_seconds" Gauge Seconds []
        "How long the oldest of them has been due."
    JOBS_DEAD "jobs_dead" Gauge Count []
        "Jobs given up after their last try."
    JOBS "jobs_total" Counter Count ["task" "outcome"]
        "Tries of jobs."
}

/// How an attempt of a job ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done,
    Retried,
    Dead,
}

/// `None` sets the gauges to NaN, since a last good value would hide that the queue cannot be read.
pub fn set_queue(queue: Option<QueueState>) {
    let unknown = QueueState {
        waiting: f64::NAN,
        oldest_seconds: f64::NAN,
        dead: f64::NAN,
    };
    let queue = queue.unwrap_or(unknown);
    gauge!(JOBS_WAITING).set(queue.waiting);
    gauge!(JOBS_OLDEST).set(queue.oldest_seconds);
    gauge!(JOBS_DEAD).set(queue.dead);
}

/// Counts an attempt; `task` is a job's identifier.
pub(crate) fn count_attempt(task: &str, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Done => "done",
        Outcome::Retried => "retried",
        Outcome::Dead => "dead",
    };
    counter!(JOBS, "task" => task.to_owned(), "outcome" => outcome).increment(1);
}
