//! The listener that Prometheus scrapes, apart from the public one, and what is looked at from time
//! to time because nothing tells when it changes.

use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::config::Config;
use crate::events;
use crate::infra::{Clock, Db, Limiter, Redis};
use crate::jobs;
use crate::metrics;
use crate::partitions;
use crate::state::AppState;
use crate::telemetry;
use crate::usage;

const POOL_EVERY: Duration = Duration::from_secs(5);
const QUEUE_EVERY: Duration = Duration::from_secs(15);
const PARTITIONS_EVERY: Duration = Duration::from_mins(5);

/// The tables that are partitioned by month.
const TABLES: [&str; 5] = [
    audit::TABLE,
    usage::TABLE,
    usage::HOURLY_TABLE,
    usage::DAILY_TABLE,
    events::TABLE,
];

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// `METRICS_ADDR` cannot be listened on.
    #[error("METRICS_ADDR cannot be listened on")]
    Listen(#[from] std::io::Error),
    /// The recorder cannot be built.
    #[error("metrics cannot be recorded: {0}")]
    Record(String),
}

/// Records and serves metrics until `stop`, where `METRICS_ADDR` is set; the listener is bound when
/// this returns.
pub async fn start(
    state: &AppState,
    config: &Config,
    stop: CancellationToken,
) -> Result<Option<Monitor>, MonitorError> {
    let Some(addr) = config.telemetry.metrics_addr else {
        return Ok(None);
    };
    let listener = TcpListener::bind(addr).await?;
    metrics::start(&state.version, option_env!("BUILD_COMMIT"))
        .map_err(|error| MonitorError::Record(error.to_string()))?;
    metrics::set_max_connections(config.http.max_connections);
    metrics::set_max_requests(config.http.max_requests);
    tracing::info!(addr = %listener.local_addr()?, "serving metrics");
    Ok(Some(Monitor {
        listener,
        db: state.db.clone(),
        redis: state.redis.clone(),
        limiter: state.limiter.clone(),
        clock: state.clock.clone(),
        stop,
    }))
}

/// A monitor that is bound and not yet run.
#[derive(Debug)]
pub struct Monitor {
    listener: TcpListener,
    db: Db,
    redis: Option<Redis>,
    limiter: Limiter,
    clock: Clock,
    stop: CancellationToken,
}

impl Monitor {
    /// Where metrics are served.
    pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves and samples until it is told to stop.
    pub async fn run(self) {
        let (db, redis, limiter) = (self.db.clone(), self.redis, self.limiter);
        let clock = self.clock;
        let scraped = get(async move || {
            database::metrics::record_pool(&db);
            if let Some(redis) = &redis {
                redis_client::metrics::set_up(redis.is_available());
                metrics::set_limits_shared(limiter.is_shared());
            }
            database::metrics::record_clock(&clock);
            metrics::set_dropped_log_lines(telemetry::dropped_lines());
            (
                [(CONTENT_TYPE, telemetry::prometheus::CONTENT_TYPE)],
                metrics::render(),
            )
        });
        let app = Router::new().route("/health/metrics", scraped);
        let work = async {
            tokio::join!(
                async { axum::serve(self.listener, app).await },
                sample_pool(&self.db),
                sample_queue(&self.db),
                sample_partitions(&self.db),
            )
        };
        // Open connections are cut: a scrape that is lost costs nothing.
        let _ = self.stop.run_until_cancelled(work).await;
    }
}

async fn sample_pool(db: &Db) {
    let mut ticks = every(POOL_EVERY);
    loop {
        ticks.tick().await;
        database::metrics::sample_wait(db).await;
        metrics::run_upkeep();
    }
}

async fn sample_queue(db: &Db) {
    let mut ticks = every(QUEUE_EVERY);
    loop {
        ticks.tick().await;
        metrics::set_queue(jobs::look(db).await.ok());
    }
}

async fn sample_partitions(db: &Db) {
    let mut ticks = every(PARTITIONS_EVERY);
    loop {
        ticks.tick().await;
        for table in TABLES {
            // A failure keeps the last values: a month's partition does not go away by itself.
            if let Ok(state) = partitions::state_of(db, table).await {
                let rows = u32::try_from(state.default_rows).unwrap_or(u32::MAX);
                metrics::set_partitions(table, state.months_ahead, rows);
            }
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
