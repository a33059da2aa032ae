//! Every background task of a process, and the subcommands that run it.

use background_tasks::Tasks;
use uuid::Uuid;

use crate::config::Config;
use crate::monitor::{self, MonitorError};
use crate::state::AppState;
use crate::{api_keys, auth, usage, worker};

/// The subcommand that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Serve,
    Worker,
}

/// Starts the tasks of this process. `runs_jobs` is false for `serve --no-worker`.
pub async fn start(
    process: Process,
    runs_jobs: bool,
    state: &AppState,
    config: &Config,
) -> Result<Tasks, MonitorError> {
    let tasks = Tasks::default();
    let monitor = monitor::start(state, config, tasks.stop_token()).await?;

    let stop = || tasks.stop_token();
    tasks.spawn("heartbeat", state.heartbeat.clone().watch(stop()));
    tasks.spawn(
        "database check",
        stop().run_until_cancelled_owned(database::log_faults(state.db.clone())),
    );
    tasks.spawn("cache invalidation", state.cache.clone().listen(stop()));
    if process == Process::Serve {
        if let Some(replica) = &state.replica {
            tasks.spawn("read replica", replica.clone().watch(stop()));
        }
        let connections = config.database.first_connections;
        tasks.spawn(
            "pool warm-up",
            database::keep_warm(
                state.db.clone(),
                state.heartbeat.clone(),
                connections,
                stop(),
            ),
        );
        tasks.spawn(
            "revocation list",
            auth::watch_revocations(state.clone(), stop()),
        );
        tasks.spawn("API key uses", api_keys::watch_uses(state.clone(), stop()));
        tasks.spawn("usage flush", usage::run(state.clone(), tasks.last_token()));
        tasks.spawn(
            "rate limiter cleanup",
            state.limiter.clone().evict_idle(stop()),
        );
        let id = Uuid::from_bytes(state.rng.bytes()).simple().to_string();
        tasks.spawn(
            "rate limiter",
            state.limiter.clone().count_deferred(id, tasks.last_token()),
        );
    }
    if let Some(redis) = state.redis.clone() {
        let warm_up = async move { redis.warm_up().await };
        tasks.spawn("Redis warm-up", stop().run_until_cancelled_owned(warm_up));
    }
    if let Some(monitor) = monitor {
        tasks.spawn("metrics", monitor.run());
    }
    if runs_jobs {
        tasks.spawn(
            "job worker",
            worker::run(state.clone(), config.worker.clone(), stop()),
        );
    }
    Ok(tasks)
}
