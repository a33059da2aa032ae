//! Readiness checks of the dependencies. The result is cached, so that probes cannot cause load.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::model::{Draining, Readiness, Status};
use crate::infra::db::{self, Heartbeat};
use crate::infra::{Db, Limiter};

const TIMEOUT: Duration = Duration::from_secs(1);
const CACHED: Duration = Duration::from_secs(2);

/// For results that remove the replica from load balancing. Load balancers often require two successful
/// probes, so that a long cache would prolong downtime.
const FAILURE_CACHED: Duration = Duration::from_millis(250);

/// Jobs that have been due for longer indicate that no worker runs.
const LATE: Duration = Duration::from_mins(5);

/// Result of the last checks.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Option<(Instant, CheckResults)>>);

#[derive(Clone, Copy, Debug)]
struct CheckResults {
    database: Status,
    migrations: Status,
    queue: Status,
    redis: Option<Status>,
}

impl Checks {
    pub(super) async fn readiness(
        &self,
        heartbeat: &Heartbeat,
        db: &Db,
        limiter: Option<&Limiter>,
        draining: &Draining,
    ) -> Readiness {
        let mut last = self.0.lock().await;
        let results = match *last {
            Some((at, results)) if at.elapsed() < results.cached_for() => results,
            _ => {
                let results = run_checks(heartbeat, db, limiter).await;
                *last = Some((Instant::now(), results));
                results
            }
        };
        let CheckResults {
            database,
            migrations,
            queue,
            redis,
        } = results;
        Readiness::new(database, migrations, queue, redis, draining.has_begun())
    }
}

impl CheckResults {
    fn cached_for(self) -> Duration {
        if [self.database, self.migrations].contains(&Status::Down) {
            FAILURE_CACHED
        } else {
            CACHED
        }
    }
}

async fn run_checks(heartbeat: &Heartbeat, db: &Db, limiter: Option<&Limiter>) -> CheckResults {
    let database = timeout(TIMEOUT, heartbeat.is_current());
    let redis = async {
        match limiter {
            // Runs the script of the rate limiter, since Redis may respond and reject it.
            Some(limiter) => Some(if limiter.probe().await.is_ok() {
                Status::Ok
            } else {
                Status::Degraded
            }),
            None => None,
        }
    };
    let (database, redis, queue) = tokio::join!(database, redis, queue(db));
    let (database, migrations) = match database {
        Ok(Ok(true)) => (Status::Ok, Status::Ok),
        Ok(Ok(false)) => (Status::Ok, Status::Down),
        // The database responds and is empty.
        Ok(Err(error)) if db::is_missing_table(&error) => (Status::Ok, Status::Down),
        Ok(Err(_)) | Err(_) => (Status::Down, Status::Down),
    };
    CheckResults {
        database,
        migrations,
        queue,
        redis,
    }
}

async fn queue(db: &Db) -> Status {
    match timeout(TIMEOUT, job_queue::is_late(db, LATE)).await {
        Ok(Ok(false)) => Status::Ok,
        Ok(Ok(true) | Err(_)) | Err(_) => Status::Degraded,
    }
}
