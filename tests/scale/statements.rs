//! The statements that PostgreSQL has executed, from `pg_stat_statements`.

use std::collections::BTreeMap;

use sqlx::{Executor as _, PgConnection};

use crate::kinds::kind_of;

/// Cost of the statements of a kind, for each second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    pub calls: f64,
    pub rows: f64,
    /// Bytes of write-ahead log.
    pub wal: f64,
    /// Milliseconds of execution.
    pub millis: f64,
}

impl Rate {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.rows += other.rows;
        self.wal += other.wal;
        self.millis += other.millis;
    }
}

/// Forgets the statements so far.
pub async fn reset(statistics: &mut PgConnection) {
    let reset = statistics.execute("SELECT pg_stat_statements_reset()");
    reset.await.expect("they are forgotten");
}

/// Rates by kind since the last reset, and the statements without a kind.
pub async fn rates(
    statistics: &mut PgConnection,
    seconds: f64,
) -> (BTreeMap<&'static str, Rate>, Vec<(String, Rate)>) {
    type Row = (String, i64, i64, f64, f64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT query, calls, rows, wal_bytes::float8, total_exec_time
         FROM pg_stat_statements AS s JOIN pg_roles AS r ON r.oid = s.userid
         WHERE r.rolname = 'app_runtime' ORDER BY calls DESC",
    )
    .fetch_all(statistics)
    .await
    .expect("they are read");
    let (mut by_kind, mut others) = (BTreeMap::<_, Rate>::new(), Vec::new());
    for (query, calls, rows, wal, millis) in rows {
        let float = |count: i64| u32::try_from(count).map_or(f64::NAN, f64::from);
        let rate = Rate {
            calls: float(calls) / seconds,
            rows: float(rows) / seconds,
            wal: wal / seconds,
            millis: millis / seconds,
        };
        let kind = kind_of(&query);
        by_kind
            .entry(kind.unwrap_or("others"))
            .or_default()
            .add(rate);
        if kind.is_none() {
            let words: Vec<_> = query.split_whitespace().collect();
            others.push((words.join(" "), rate));
        }
    }
    (by_kind, others)
}

/// Bytes of write-ahead log that the server has written.
pub async fn wal_position(statistics: &mut PgConnection) -> f64 {
    sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
        .fetch_one(statistics)
        .await
        .expect("it is read")
}

/// Connections of the replicas.
pub async fn connections(statistics: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_runtime'")
        .fetch_one(statistics)
        .await
        .expect("they are counted")
}
