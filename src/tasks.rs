//! Every background task of a process, and the subcommands that run it.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::infra::db;
use crate::monitor::{self, MonitorError};
use crate::state::AppState;
use crate::{api_keys, auth, usage, worker};

/// The subcommand that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Serve,
    Worker,
}

use Process::{Serve, Worker};

/// Starts the tasks of this process. `runs_jobs` is false for `serve --no-worker`.
pub async fn start(
    process: Process,
    runs_jobs: bool,
    state: &AppState,
    config: &Config,
) -> Result<Tasks, MonitorError> {
    let tasks = Tasks::new(process);
    let monitor = monitor::start(state, config, tasks.stop.clone()).await?;

    tasks.run("heartbeat", &[Serve, Worker], |stop| {
        state.heartbeat.clone().watch(stop)
    });
    tasks.run("pool warm-up", &[Serve], |stop| {
        let connections = config.database.first_connections;
        db::keep_warm(state.db.clone(), state.heartbeat.clone(), connections, stop)
    });
    tasks.run("database check", &[Serve, Worker], |stop| {
        stop.run_until_cancelled_owned(db::log_faults(state.db.clone(), state.heartbeat.clone()))
    });
    tasks.run("revocation list", &[Serve], |stop| {
        auth::watch_revocations(state.clone(), stop)
    });
    tasks.run("API key uses", &[Serve], |stop| {
        api_keys::watch_uses(state.clone(), stop)
    });
    tasks.run("cache invalidation", &[Serve, Worker], |stop| {
        state.cache.clone().listen(stop)
    });
    tasks.run_until(&tasks.stop_last, "usage flush", &[Serve], |stop| {
        usage::run(state.clone(), stop)
    });
    tasks.run("rate limiter cleanup", &[Serve], |stop| {
        state.limiter.clone().evict_idle(stop)
    });
    if let Some(redis) = state.redis.clone() {
        tasks.run("Redis warm-up", &[Serve], |stop| {
            stop.run_until_cancelled_owned(async move { redis.warm_up().await })
        });
    }
    if let Some(monitor) = monitor {
        tasks.run("metrics", &[Serve, Worker], |_| monitor.run());
    }
    if runs_jobs {
        tasks.run("job worker", &[Serve, Worker], |stop| {
            worker::run(state.clone(), config.worker.clone(), stop)
        });
    }
    Ok(tasks)
}

#[derive(Debug)]
pub struct Tasks {
    process: Process,
    running: TaskTracker,
    stop: CancellationToken,
    /// For tasks that write data of requests, and so stop after the last response.
    stop_last: CancellationToken,
}

impl Tasks {
    fn new(process: Process) -> Self {
        Self {
            process,
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_last: CancellationToken::new(),
        }
    }

    fn run<F>(
        &self,
        name: &'static str,
        processes: &[Process],
        start: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output: Send> + Send + 'static,
    {
        self.run_until(&self.stop, name, processes, start);
    }

    fn run_until<F>(
        &self,
        stop: &CancellationToken,
        name: &'static str,
        processes: &[Process],
        start: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output: Send> + Send + 'static,
    {
        if processes.contains(&self.process) {
            let task = start(stop.clone());
            self.running.spawn(async move {
                task.await;
                tracing::debug!(task = name, "background task ended");
            });
        }
    }

    /// Stops all tasks except those that wait for the last response.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops the rest after the last response, and waits for all tasks to end.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.stop_last.cancel();
        self.running.close();
        self.running.wait().await;
    }
}
