//! Reads what the start page shows, and retries a failed job.

use std::io::ErrorKind;
use std::time::Duration;

use job_queue::Retry;
use telemetry::prometheus;
use tokio::time::timeout;

use super::error::Error;
use super::model::{HttpTotals, Links, Pool, Queue, Status};
use crate::state::AppState;

/// Failed jobs that are shown.
const JOBS: i64 = 50;

/// Shorter than the interval in which the page asks.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the links. A file that does not exist is one without links: `make run` writes it when everything is ready.
pub(super) async fn links(file: Option<&str>) -> Result<Links, Error> {
    let Some(file) = file else {
        return Ok(Links::default());
    };
    let text = match tokio::fs::read(file).await {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Links::default()),
        Err(_) => return Err(Error::LinksFile),
    };
    serde_json::from_slice(&text).map_err(|_| Error::LinksFile)
}

pub(super) async fn status(state: &AppState) -> Status {
    let idle = u32::try_from(state.db.num_idle()).unwrap_or(u32::MAX);
    let pool = Pool {
        busy: state.db.size().saturating_sub(idle),
        idle,
        max: state.db.max_connections(),
    };
    let queue = timeout(QUEUE_TIMEOUT, queue(state)).await;
    Status {
        version: state.version.to_string(),
        uptime_seconds: state.started.elapsed().as_secs(),
        pool,
        http: prometheus::is_installed().then(|| HttpTotals::sum(&prometheus::render())),
        queue: queue.ok().and_then(Result::ok),
    }
}

async fn queue(state: &AppState) -> Result<Queue, sqlx::Error> {
    Ok(Queue {
        counts: job_queue::count_jobs(&state.db).await?,
        jobs: job_queue::list_failed_jobs(&state.db, JOBS).await?,
    })
}

pub(super) async fn retry(state: &AppState, id: i64) -> Result<(), Error> {
    let mut connection = state.db.acquire().await?;
    match job_queue::retry_failed_job(&mut connection, id).await? {
        Retry::Scheduled => Ok(()),
        Retry::Running => Err(Error::Running),
        Retry::NotFound => Err(Error::NotFound),
    }
}
