//! Readiness checks of the dependencies. The result is cached, so that probes cannot cause load.

use std::time::Duration;

use database::Db;
use health_checks::{CachedCheck, Status};
use http_toolkit::Draining;
use object_store::ObjectStore;
use stripe_client::Stripe;
use tokio::time::timeout;

use super::model::Readiness;
use crate::state::AppState;

const TIMEOUT: Duration = Duration::from_secs(1);
const CACHED: Duration = Duration::from_secs(2);

/// For results that remove the replica from load balancing. Load balancers often require two successful
/// probes, so that a long cache would prolong downtime.
const FAILURE_CACHED: Duration = Duration::from_millis(250);

/// Jobs that have been due for longer indicate that no worker runs.
const LATE: Duration = Duration::from_mins(5);

pub(super) type Checks = CachedCheck<Readiness>;

pub(super) async fn readiness(checks: &Checks, state: &AppState, draining: &Draining) -> Readiness {
    let keep = |last: Readiness| {
        if last.status.takes_traffic() {
            CACHED
        } else {
            FAILURE_CACHED
        }
    };
    let mut readiness = checks.get(keep, async || run_checks(state).await).await;
    if draining.has_begun() {
        readiness.status = Status::Draining;
    }
    readiness
}

async fn run_checks(state: &AppState) -> Readiness {
    let database = timeout(TIMEOUT, state.heartbeat.is_current());
    let (database, redis, queue, scanner) =
        tokio::join!(database, redis(state), queue(&state.db), scanner(state));
    let (database, migrations) = match database {
        Ok(Ok(true)) => (Status::Ok, Status::Ok),
        Ok(Ok(false)) => (Status::Ok, Status::Down),
        // The database responds and is empty.
        Ok(Err(error)) if database::is_missing_table(&error) => (Status::Ok, Status::Down),
        Ok(Err(_)) | Err(_) => (Status::Down, Status::Down),
    };
    let stripe = state.stripe.as_ref().map(Stripe::is_failing);
    let storage = state.storage.as_ref().map(ObjectStore::is_failing);
    // Of the last call, so that probes call nothing.
    let [stripe, storage] = [stripe, storage].map(|is_failing| is_failing.map(degraded_if));
    let replica = state.replica.as_ref();
    let readiness = Readiness {
        read_replica: replica.map(|replica| degraded_if(!replica.is_used())),
        redis,
        stripe,
        storage,
        scanner,
        ..Readiness::new(database, migrations, queue)
    };
    readiness.judged()
}

/// Runs the script of the rate limiter, since Redis may respond and reject it.
async fn redis(state: &AppState) -> Option<Status> {
    state.redis.as_ref()?;
    Some(match state.limiter.probe().await {
        Ok(()) => Status::Ok,
        Err(_) => Status::Degraded,
    })
}

/// Connects, since a process that runs no jobs makes no other calls.
async fn scanner(state: &AppState) -> Option<Status> {
    let scanner = state.scanner.as_ref()?;
    let is_failing = !matches!(timeout(TIMEOUT, scanner.ping()).await, Ok(Ok(())));
    Some(degraded_if(is_failing))
}

const fn degraded_if(is_failing: bool) -> Status {
    if is_failing {
        Status::Degraded
    } else {
        Status::Ok
    }
}

async fn queue(db: &Db) -> Status {
    match timeout(TIMEOUT, job_queue::is_late(db, LATE)).await {
        Ok(Ok(false)) => Status::Ok,
        Ok(Ok(true) | Err(_)) | Err(_) => Status::Degraded,
    }
}
