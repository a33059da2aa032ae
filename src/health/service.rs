//! Asks the services around how they are, each within a second, and remembers the answer for two,
//! so that probes cannot become load.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::model::{Draining, Readiness, Status};
use crate::infra::db::{self, Pulse};
use crate::infra::{Db, Redis};
use crate::jobs;

const DEADLINE: Duration = Duration::from_secs(1);
const REMEMBERED: Duration = Duration::from_secs(2);

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
        pulse: &Pulse,
        db: &Db,
        redis: Option<&Redis>,
        draining: &Draining,
    ) -> Readiness {
        let mut last = self.0.lock().await;
        let answers = match *last {
            Some((at, answers)) if at.elapsed() < REMEMBERED => answers,
            _ => ask(pulse, db, redis).await,
        };
        if last.is_none_or(|(at, _)| at.elapsed() >= REMEMBERED) {
            *last = Some((Instant::now(), answers));
        }
        let Answers {
            database,
            migrations,
            queue,
            redis,
        } = answers;
        Readiness::new(database, migrations, queue, redis, draining.has_begun())
    }
}

async fn ask(pulse: &Pulse, db: &Db, redis: Option<&Redis>) -> Answers {
    let database = timeout(DEADLINE, pulse.is_current());
    let redis = async {
        match redis {
            Some(redis) => Some(if redis.ping().await.is_ok() {
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
