//! Metrics of the pool, the clock and the role of the server.

use std::time::Instant;

use chrono::TimeDelta;
use clock::Clock;
use metrics::{gauge, histogram};

use crate::{Db, Heartbeat};

metric_families::families! {
    CONNECTIONS "db_pool_connections" Gauge Count ["state"]
        "Connections of the database pool, idle or busy."
    MAX_CONNECTIONS "db_pool_max_connections" Gauge Count []
        "Connections that the database pool may open (DB_POOL_SIZE + DB_MAX_OVERFLOW)."
    WAIT "db_pool_wait_seconds" Histogram Seconds []
        "The wait for a connection of the pool, sampled every five seconds."
    STANDBY "database_is_standby" Gauge Count []
        "1 while DATABASE_URL leads to a standby, which takes no writes: requests are refused."
    CLOCK "clock_ahead_seconds" Gauge Seconds []
        "How far the system's clock is ahead of the database's, which is used; NaN until it is known."
}

/// Records the size of the pool.
pub fn record_pool(db: &Db) {
    let idle = u32::try_from(db.num_idle()).unwrap_or(u32::MAX);
    gauge!(CONNECTIONS, "state" => "idle").set(f64::from(idle));
    gauge!(CONNECTIONS, "state" => "busy").set(f64::from(db.size().saturating_sub(idle)));
    gauge!(MAX_CONNECTIONS).set(f64::from(db.max_connections()));
}

/// Records whether the database is a standby.
pub fn record_role(heartbeat: &Heartbeat) {
    gauge!(STANDBY).set(f64::from(u8::from(heartbeat.reached_standby())));
}

/// Records how far the system's clock is ahead of the database's.
pub fn record_clock(clock: &Clock) {
    let ahead = clock.system_ahead().map(TimeDelta::as_seconds_f64);
    gauge!(CLOCK).set(ahead.unwrap_or(f64::NAN));
}

/// Acquires a connection and records the wait, since the pool does not report that of its callers.
pub async fn sample_wait(db: &Db) {
    let began = Instant::now();
    let connection = db.acquire().await;
    histogram!(WAIT).record(began.elapsed());
    drop(connection);
}
