//! Metrics of the pool, the clock and the role of the server.

use std::time::Instant;

use chrono::TimeDelta;
use clock::Clock;
use metric_families::label_values;
use metrics::{counter, gauge, histogram};

use crate::{Db, Heartbeat, Replica};

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
    READS "database_reads_total" Counter Count ["source"]
        "Reads that tolerate lag, by the server that replied: replica or primary. Only with DATABASE_READ_URL."
    READS_REPEATED "database_reads_repeated_total" Counter Count []
        "Reads that failed on the replica, or found it beyond DATABASE_READ_MAX_LAG, and were sent to the primary."
    REPLICA_LAG "database_replica_lag_seconds" Gauge Seconds []
        "Bound on the lag of the read replica, measured twice a second; NaN while it cannot be measured."
    REPLICA_USED "database_replica_is_used" Gauge Count []
        "1 while reads that tolerate lag are sent to the read replica, 0 while the primary replies instead."
    REPLICA_PRIMARY "database_replica_is_primary" Gauge Count []
        "1 while DATABASE_READ_URL leads to the primary: it is used, and takes no load off it."
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

label_values! {
    /// Server that replied to a read that tolerates lag.
    ReadSource {
        Replica "replica"
        Primary "primary"
    }
}

/// Starts the series of a read replica.
pub fn init_replica() {
    ReadSource::init(READS, "source");
    counter!(READS_REPEATED).absolute(0);
}

/// Records the lag of the read replica, and whether it is used.
pub fn record_replica(replica: &Replica) {
    let lag = replica.lag().map(|lag| lag.as_secs_f64());
    gauge!(REPLICA_LAG).set(lag.unwrap_or(f64::NAN));
    gauge!(REPLICA_USED).set(f64::from(u8::from(replica.is_used())));
    gauge!(REPLICA_PRIMARY).set(f64::from(u8::from(replica.is_primary())));
}

pub(crate) fn count_read(source: ReadSource) {
    counter!(READS, "source" => source.as_str()).increment(1);
}

pub(crate) fn count_repeated_read() {
    counter!(READS_REPEATED).increment(1);
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
