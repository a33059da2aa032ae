//! Reads that tolerate lag, from two standbys behind one address.

use std::time::{Duration, Instant};

use reqwest::Method;
use sqlx::Executor as _;

use crate::harness::{Outcome, Service, is_fine, until, with};
use crate::world::{DATABASE, World};

const AUDIT_LOG: &str = "/api/v1/audit-log?limit=100";

const MAX_LAG: Duration = Duration::from_secs(3);

/// Reads one after another, so that connections to both standbys take part.
const READS: usize = 40;

struct Reader {
    service: Service,
    metrics: String,
    access: String,
}

impl Reader {
    async fn start(world: &World) -> Self {
        let replicas = world.patroni.replica_url(DATABASE);
        let max_lag = format!("{}s", MAX_LAG.as_secs());
        let more = [
            ("DATABASE_READ_URL", replicas.as_str()),
            ("DATABASE_READ_MAX_LAG", &max_lag),
            ("METRICS_ADDR", "127.0.0.1:0"),
        ];
        let service = Service::start(&with(&world.settings, &more), &["serve"]).await;
        let announced = service
            .lines()
            .find(|it| it["message"] == "serving metrics");
        let addr = announced.and_then(|line| line["addr"].as_str().map(str::to_owned));
        let access = service.sign_in("ada").await.access;
        Self {
            metrics: format!("http://{}/health/metrics", addr.expect("it serves metrics")),
            service,
            access,
        }
    }

    async fn metric(&self, series: &str) -> f64 {
        let reply = reqwest::get(&self.metrics).await.expect("it replies");
        let page = reply.text().await.expect("it is text");
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        let value = value.unwrap_or_else(|| panic!("no {series}: {page}"));
        value.trim().parse().expect("it is a number")
    }

    async fn until_used(&self) {
        until("the standbys are read", async || {
            self.metric("database_replica_is_used ").await > 0.0
        })
        .await;
    }

    async fn of_standbys(&self) -> f64 {
        let series = "database_reads_total{source=\"replica\"} ";
        self.metric(series).await
    }

    async fn read(&self) -> Outcome {
        let caller = &self.service.caller;
        let access = Some(self.access.as_str());
        caller.call(Method::GET, AUDIT_LOG, access, None).await
    }

    async fn events(&self) -> usize {
        let log = self.read().await;
        assert!(is_fine(&log), "{log:?}");
        log.body["items"].as_array().map_or(0, Vec::len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_standbys_behind_one_address_none_is_read_beyond_the_bound() {
    let world = World::new().await;
    let reader = Reader::start(&world).await;
    reader.until_used().await;
    let primary = world.patroni.primary().await.expect("there is one");
    for standby in (0..3).filter(|member| *member != primary) {
        reader.until_used().await;
        let before = reader.of_standbys().await;
        let events = reader.events().await;
        let mut paused = world.member(standby).await.expect("it responds");
        let pause = paused.execute("SELECT pg_wal_replay_pause()").await;
        pause.expect("it is paused");
        assert!(is_fine(&reader.service.log_in("ada@example.com").await));
        let written = Instant::now();
        // Of one standby the lag is measured; connections lead to both.
        tokio::time::sleep(MAX_LAG + Duration::from_secs(1)).await;
        for _ in 0..READS {
            let seen = reader.events().await;
            assert!(seen > events, "{:?} after the write", written.elapsed());
        }
        let resumed = paused.execute("SELECT pg_wal_replay_resume()").await;
        resumed.expect("it is resumed");
        until("standbys are read", async || {
            reader.events().await;
            reader.of_standbys().await > before
        })
        .await;
    }
    reader.until_used().await;
    world.patroni.switch_over().await.expect("it is accepted");
    let switched = Instant::now();
    until("reads succeed after the switchover", async || {
        let reply = reader.read().await;
        assert!(is_fine(&reply) || reply.is_shed(), "{reply:?}");
        is_fine(&reply) && switched.elapsed() > Duration::from_secs(10)
    })
    .await;
    world.patroni.is_whole().await.expect("the cluster heals");
    reader.until_used().await;
    let before = reader.of_standbys().await;
    until("standbys are read again", async || {
        reader.events().await;
        reader.of_standbys().await > before
    })
    .await;
}
