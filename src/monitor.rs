//! Prometheus listener at `METRICS_ADDR`, and sampled gauges.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use background_tasks::every;
use telemetry::prometheus::{BuildError, CONTENT_TYPE as TEXT_FORMAT};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics;
use crate::partitions::{self, Table};
use crate::scope;
use crate::state::AppState;
use crate::{billing, files, privacy, sealed, storage, worker};

const POOL_EVERY: Duration = Duration::from_secs(5);
const QUEUE_EVERY: Duration = Duration::from_secs(15);
const PARTITIONS_EVERY: Duration = Duration::from_mins(5);
const FILES_EVERY: Duration = Duration::from_mins(5);
const SEALED_EVERY: Duration = Duration::from_hours(1);
const RETENTION_EVERY: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error("METRICS_ADDR cannot be listened on")]
    Listen(#[from] io::Error),
    #[error("metrics cannot be recorded: {0}")]
    Record(#[source] BuildError),
}

/// Metrics listener that is bound and does not serve yet.
#[derive(Debug)]
pub struct Monitor {
    listener: TcpListener,
    state: AppState,
    stop: CancellationToken,
}

/// Binds the listener where `METRICS_ADDR` is set, and begins to record.
pub async fn start(
    state: &AppState,
    config: &Config,
    stop: CancellationToken,
) -> Result<Option<Monitor>, MonitorError> {
    let Some(addr) = config.telemetry.metrics_addr else {
        return Ok(None);
    };
    let listener = TcpListener::bind(addr).await?;
    metrics::start(&state.version, option_env!("BUILD_COMMIT")).map_err(MonitorError::Record)?;
    scope::Exception::init_metric();
    metrics::set_max_connections(config.http.max_connections);
    metrics::set_max_requests(config.http.max_requests);
    if state.replica.is_some() {
        database::metrics::init_replica();
    }
    if state.storage_copy.is_some() {
        metrics::set_copy_time(None);
    }
    tracing::info!(addr = %listener.local_addr()?, "serving metrics");
    Ok(Some(Monitor {
        listener,
        state: state.clone(),
        stop,
    }))
}

impl Monitor {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves and samples until `stop`, and then closes open connections.
    pub async fn run(self) {
        let state = self.state.clone();
        let scrape = get(async move || {
            set_gauges(&state);
            ([(CONTENT_TYPE, TEXT_FORMAT)], metrics::render())
        });
        let app = Router::new().route("/health/metrics", scrape);
        let (state, tables) = (&self.state, &worker::partitioned_tables(&self.state));
        let work = async {
            tokio::join!(
                async { axum::serve(self.listener, app).await },
                every(POOL_EVERY, || sample_pool(state)),
                every(QUEUE_EVERY, || sample_queue(state)),
                every(PARTITIONS_EVERY, || sample_partitions(state, tables)),
                every(FILES_EVERY, || Box::pin(files::sample_verified(state))),
                every(FILES_EVERY, || Box::pin(storage::sample(state))),
                every(SEALED_EVERY, || sealed::sample(state)),
                every(RETENTION_EVERY, || privacy::sample_retention(state)),
            )
        };
        let _ = self.stop.run_until_cancelled(work).await;
    }
}

fn set_gauges(state: &AppState) {
    database::metrics::record_pool(&state.db);
    if let Some(redis) = &state.redis {
        redis_client::metrics::set_up(redis.is_available());
        rate_limit::metrics::record_mode(&state.limiter);
    }
    database::metrics::record_clock(&state.clock);
    database::metrics::record_role(&state.heartbeat);
    if let Some(replica) = &state.replica {
        database::metrics::record_replica(replica);
    }
    metrics::set_dropped_log_lines(telemetry::dropped_lines());
}

async fn sample_pool(state: &AppState) {
    database::metrics::sample_wait(&state.db).await;
    metrics::run_upkeep();
}

async fn sample_queue(state: &AppState) {
    job_queue::metrics::set_queue(job_queue::queue_state(&state.db).await.ok());
    if let Ok(seconds) = billing::webhook_lag(&state.db, state.clock.now()).await {
        metrics::set_webhook_lag(seconds);
    }
    files::sample_waiting(state).await;
}

/// After a failure the gauges keep their values, since partitions do not disappear.
async fn sample_partitions(state: &AppState, tables: &[Table]) {
    for table in tables {
        if let Ok(found) = partitions::state_of(&state.db, table.name).await {
            let rows = u32::try_from(found.default_rows).unwrap_or(u32::MAX);
            metrics::set_partitions(table.name, found.months_ahead, rows);
        }
    }
}
