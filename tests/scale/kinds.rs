//! Kinds of statements, by words of their text.

/// The first of these that a statement contains decides.
const KINDS: [(&str, &[&str]); 9] = [
    ("heartbeat", &["pg_is_in_recovery"]),
    ("list of ended sessions", &["oldest_running"]),
    ("usage flush", &["usage_writers", "usage_totals"]),
    ("job queue: poll for jobs", &["with j as"]),
    (
        "job queue: heartbeat, recovery",
        &["worker_heartbeat", "_workers(", "pg_try_advisory_xact_lock"],
    ),
    (
        "schedules",
        &[
            "crontab",
            "add_job",
            "_private_jobs where id",
            "newest",
            "usage_backfill",
            "old AS MATERIALIZED",
        ],
    ),
    (
        "samples of metrics",
        &[
            "priorities",
            "FROM stripe_events",
            "FROM files",
            "AS dead",
            "month_partition_state",
            "IS NOT NULL ORDER BY",
            "legal_holds",
        ],
    ),
    ("new connections", &["SET ", "LISTEN", "pg_type"]),
    (
        "transactions",
        &["BEGIN", "COMMIT", "ROLLBACK", "set_config"],
    ),
];

/// The kind of a statement; `None` of an unknown one.
pub fn kind_of(query: &str) -> Option<&'static str> {
    let contains = |words: &&[&str]| words.iter().any(|it| query.contains(it));
    let found = KINDS.iter().find(|(_, words)| contains(words));
    found.map(|(kind, _)| *kind)
}
