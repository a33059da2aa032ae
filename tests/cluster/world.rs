//! A cluster of PostgreSQL, and replicas of the service on it.

use std::time::Duration;

use groundwork_dev::{Inbox, Patroni};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::harness::{Service, Settings, run, settings, with};

/// The configuration whose lines the page describes.
const HAPROXY: &str = include_str!("../../deploy/ha/haproxy.cfg");

pub const DATABASE: &str = "app";

/// Replicas of `serve --no-worker`, and as many of `worker`.
const REPLICAS: usize = 2;

/// Jobs at once in each worker.
pub const CONCURRENCY: usize = 4;

/// How often each test breaks its cluster.
pub fn rounds() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let rounds = std::env::var("TEST_ROUNDS");
    rounds.ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A migrated database of a cluster, and an inbox.
pub struct World {
    pub settings: Settings,
    pub inbox: Inbox,
    pub patroni: Patroni,
}

impl World {
    pub async fn new() -> Self {
        let patroni = Patroni::start(HAPROXY).await.expect("the cluster starts");
        let inbox = Inbox::start().await;
        let mut admin = connect(&patroni.url("postgres")).await;
        let sql = format!("CREATE DATABASE {DATABASE}");
        let created = admin.execute(sqlx::AssertSqlSafe(sql)).await;
        created.expect("the database is created");
        let settings = with(
            &settings(&patroni.runtime_url(DATABASE), &inbox.smtp_url()),
            &[
                ("DATABASE_MIGRATION_URL", &patroni.url(DATABASE)),
                ("DB_POOL_TIMEOUT", "2s"),
                ("WORKER_CONCURRENCY", &CONCURRENCY.to_string()),
                ("USAGE_FLUSH_INTERVAL", "1s"),
                ("PLAN_FREE_RATE", "1000000"),
                ("PLAN_FREE_QUOTA_HARD", "false"),
                ("PLAN_FREE_EVENTS", "0"),
                ("PLAN_FREE_EVENT_MIB", "0"),
            ],
        );
        let migrated = run(&settings, &["migrate"], "").await;
        assert!(migrated.status.success(), "{migrated:?}");
        Self {
            settings,
            inbox,
            patroni,
        }
    }

    /// Starts the replicas: those that serve, and those that run jobs.
    pub async fn replicas(&self) -> (Vec<Service>, Vec<Service>) {
        let mut serving = Vec::new();
        for _ in 0..REPLICAS {
            serving.push(Service::start(&self.settings, &["serve", "--no-worker"]).await);
        }
        let workers = (0..REPLICAS).map(|_| Service::spawn(&self.settings, &["worker"]));
        (serving, workers.collect())
    }

    /// The primary as the owner, through `HAProxy`.
    pub async fn owner(&self) -> PgConnection {
        connect(&self.patroni.url(DATABASE)).await
    }

    /// A member as the owner, past `HAProxy`, if it accepts a connection in time.
    pub async fn member(&self, number: usize) -> Option<PgConnection> {
        let url = self.patroni.direct_url(number, DATABASE);
        let connecting = PgConnection::connect(&url);
        let connected = tokio::time::timeout(Duration::from_secs(3), connecting).await;
        connected.ok()?.ok()
    }
}

async fn connect(url: &str) -> PgConnection {
    let mut last = None;
    for _ in 0..100 {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(error) => last = Some(error),
        }
        // HAProxy has not noticed the primary yet.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no connection: {last:?}");
}
