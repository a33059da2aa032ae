//! Readiness checks of the services around, each within a second. The result is cached for two
//! seconds, so that probes cannot become load; one that keeps the process out of traffic for less.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::model::{Draining, Readiness, Status};
use crate::infra::db::{self, Heartbeat};
use crate::infra::{Db, Limiter};
use crate::jobs;

const DEADLINE: Duration = Duration::from_secs(1);
const CACHED: Duration = Duration::from_secs(2);

/// How long a result is cached that takes the process out of traffic. Balancers ask every few
/// seconds, and often ask for two successes: each that is lost to the cache is downtime.
const FAILURE_CACHED: Duration = Duration::from_millis(250);

/// A job that has been due for so long waits for a worker that is not there.
const LATE: Duration = Duration::from_mins(5);

/// The last look around.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Option<(Instant, Answers)>>);

#[derive(Clone, Copy, Debug)]
struct Answers {
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
        let answers = match *last {
            Some((at, answers)) if at.elapsed() < answers.cached_for() => answers,
            _ => {
                let answers = ask(heartbeat, db, limiter).await;
                *last = Some((Instant::now(), answers));
                answers
            }
        };
        let Answers {
            database,
            migrations,
            queue,
            redis,
        } = answers;
        Readiness::new(database, migrations, queue, redis, draining.has_begun())
    }
}

impl Answers {
    fn cached_for(self) -> Duration {
        if [self.database, self.migrations].contains(&Status::Down) {
            FAILURE_CACHED
        } else {
            CACHED
        }
    }
}

async fn ask(heartbeat: &Heartbeat, db: &Db, limiter: Option<&Limiter>) -> Answers {
    let database = timeout(DEADLINE, heartbeat.is_current());
    let redis = async {
        match limiter {
            // The script that counts for all replicas, since a Redis may answer and refuse it.
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
        // The database answers, and is empty.
        Ok(Err(error)) if db::is_missing_table(&error) => (Status::Ok, Status::Down),
        Ok(Err(_)) | Err(_) => (Status::Down, Status::Down),
    };
    Answers {
        database,
        migrations,
        queue,
        redis,
    }
}

/// Whether letters and other jobs are done soon after they are due.
async fn queue(db: &Db) -> Status {
    match timeout(DEADLINE, jobs::is_late(db, LATE)).await {
        Ok(Ok(false)) => Status::Ok,
        Ok(Ok(true) | Err(_)) | Err(_) => Status::Degraded,
    }
}
