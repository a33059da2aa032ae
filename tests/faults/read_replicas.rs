//! A read replica: reads that tolerate lag, while the standby of `DATABASE_READ_URL` follows, lags, hangs, stops, or is
//! something else than a standby.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use groundwork::config::read_database;
use groundwork::schema::connection_options;
use groundwork_dev::files::Scratch;
use groundwork_dev::pgbouncer::{Options, PgBouncer, PoolMode};
use groundwork_dev::{Fault, Inbox, Postgres, Proxy};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::databases::{finding, text};
use crate::harness::{
    Database, Outcome, PASSWORD, Service, Settings, World, connect, count, is_fine, run, settings,
    until, with,
};
use crate::poolers::{assert_refused, pooled_url};

const AUDIT_LOG: &str = "/api/v1/audit-log?limit=100";

/// Statements that have read and sleep.
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// The check of `doctor`.
const CHECK: &str = "DATABASE_READ_URL leads to a standby of the same database";

const METRICS: (&str, &str) = ("METRICS_ADDR", "127.0.0.1:0");

/// The least bound that can be set.
const MAX_LAG: Duration = Duration::from_secs(3);

/// A primary with its standby, which the service reaches through a proxy.
struct Replicated {
    primary: Postgres,
    standby: Postgres,
    proxy: Proxy,
    settings: Settings,
    _inbox: Inbox,
    _primary_home: Scratch,
    standby_home: Scratch,
}

impl Replicated {
    async fn new() -> Self {
        let (home, standby_home) = (Scratch::new(None), Scratch::new(None));
        let home = home.expect("a scratch directory");
        let standby_home = standby_home.expect("a scratch directory");
        let primary = Postgres::keep(home.path(), None).await.expect("it starts");
        primary.ensure_database("app").await.expect("it is made");
        let inbox = Inbox::start().await;
        let url = primary.runtime_url("app");
        let migrating = with(
            &settings(&url, &inbox.smtp_url()),
            &[("DATABASE_MIGRATION_URL", &primary.url("app"))],
        );
        let migrated = run(&migrating, &["migrate"], "").await;
        assert!(migrated.status.success(), "{}", text(&migrated));
        let standby = Postgres::standby_of(&primary, standby_home.path()).await;
        let standby = standby.expect("it starts");
        let proxy = Proxy::start(standby.port()).await.expect("it starts");
        let read_url = proxy.through(&standby.runtime_url("app"));
        let max_lag = format!("{}s", MAX_LAG.as_secs());
        let settings = with(
            &settings(&url, &inbox.smtp_url()),
            &[
                ("DATABASE_READ_URL", &read_url),
                ("DATABASE_READ_MAX_LAG", &max_lag),
                METRICS,
            ],
        );
        Self {
            primary,
            standby,
            proxy,
            settings,
            _inbox: inbox,
            _primary_home: home,
            standby_home,
        }
    }

    async fn serve(&self) -> Watched {
        Watched::start(&self.settings).await
    }

    /// Executes a statement on the standby, past the proxy.
    async fn execute_on_standby(&self, sql: &'static str) {
        let mut standby = connect(&self.standby.url("app")).await;
        let executed = sqlx::raw_sql(sql).execute(&mut standby).await;
        executed.expect("it is executed");
        drop(standby.close().await);
    }

    async fn stop(self) {
        self.standby.stop().await;
        self.primary.stop().await;
    }
}

/// A service whose metrics are read.
struct Watched {
    service: Service,
    metrics: String,
}

impl Watched {
    async fn start(settings: &Settings) -> Self {
        let service = Service::start(settings, &["serve"]).await;
        let announced = service
            .lines()
            .find(|it| it["message"] == "serving metrics");
        let addr = announced.and_then(|line| line["addr"].as_str().map(str::to_owned));
        let addr = addr.expect("it serves metrics");
        Self {
            service,
            metrics: format!("http://{addr}/health/metrics"),
        }
    }

    /// Value of a series.
    async fn metric(&self, series: &str) -> f64 {
        let reply = reqwest::get(&self.metrics).await.expect("it replies");
        let page = reply.text().await.expect("it is text");
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        let value = value.unwrap_or_else(|| panic!("no {series}: {page}"));
        value.trim().parse().expect("it is a number")
    }

    async fn is_used(&self) -> bool {
        self.metric("database_replica_is_used ").await > 0.0
    }

    /// Reads of the replica, and of the primary instead.
    async fn reads(&self) -> [f64; 2] {
        let replica = self.metric("database_reads_total{source=\"replica\"} ");
        let primary = self.metric("database_reads_total{source=\"primary\"} ");
        [replica.await, primary.await]
    }

    async fn until_used(&self) -> Duration {
        until("the replica is used", async || self.is_used().await).await
    }

    async fn until_not_used(&self) -> Duration {
        until("the replica is not used", async || !self.is_used().await).await
    }

    async fn get(&self, path: &str, access: &str) -> Outcome {
        let caller = &self.service.caller;
        caller.call(Method::GET, path, Some(access), None).await
    }

    /// Audit events of the caller, all of which fit a page.
    async fn events(&self, access: &str) -> usize {
        let log = self.get(AUDIT_LOG, access).await;
        assert!(is_fine(&log), "{log:?}");
        log.body["items"].as_array().map_or(0, Vec::len)
    }

    /// Signs in again, which is an event.
    async fn cause_event(&self) {
        let signed_in = self.service.log_in("ada@example.com").await;
        assert!(is_fine(&signed_in), "{signed_in:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f64_reads_that_tolerate_lag_leave_the_primary_and_no_other_does() {
    let replicated = Replicated::new().await;
    let watched = replicated.serve().await;
    let ada = watched.service.sign_in("ada").await.access;
    let admin = administrator(&replicated.settings, &watched.service).await;
    let organisation = json!({ "name": "Acme", "slug": "acme" });
    let caller = &watched.service.caller;
    let path = "/api/v1/organisations";
    let made = caller.call(Method::POST, path, Some(&ada), Some(organisation));
    assert!(is_fine(&made.await));
    watched.until_used().await;
    // What has been written is at the standby.
    until("the standby has the sign-in", async || {
        watched.events(&ada).await > 0
    })
    .await;
    let mut lagging = 0;
    for (path, operation) in reading_operations() {
        let path = path.replace("{id}", "acme");
        let access = if path.contains("/admin/") {
            &admin
        } else {
            &ada
        };
        let before = watched.reads().await;
        let mut reply = watched.get(&path, access).await;
        if operation["responses"]["200"]["x-read-replica"] == true {
            lagging += 1;
            // One that a busy machine sends to the primary is no failure.
            until("the replica replies", async || {
                reply = watched.get(&path, access).await;
                assert!(is_fine(&reply), "{path}: {reply:?}");
                watched.reads().await[0] > before[0]
            })
            .await;
        } else {
            assert_eq!(watched.reads().await, before, "{path}: {reply:?}");
        }
    }
    assert_eq!(lagging, 5, "operations that tolerate lag");
    // The rows are those of the account: the scope is set on the standby as well.
    let log = watched.get(AUDIT_LOG, &ada).await;
    let others = watched.get(AUDIT_LOG, &admin).await;
    assert_ne!(log.body["items"][0]["id"], others.body["items"][0]["id"]);
    let ready = watched.service.get("/health/ready").await;
    assert_eq!(ready.body["read_replica"], "ok", "{ready:?}");
    drop(watched);
    replicated.stop().await;
}

/// Every GET of the document whose path has no other parameter than the organisation.
fn reading_operations() -> Vec<(String, Value)> {
    let document: Value =
        serde_json::from_str(include_str!("../../docs/openapi.json")).expect("it is JSON");
    let paths = document["paths"].as_object().expect("it has paths");
    let reading = paths.iter().filter_map(|(path, item)| {
        let get = item.get("get")?;
        let is_of_organisation = path.starts_with("/api/v1/organisations/{id}");
        let is_complete = path.matches('{').count() == usize::from(is_of_organisation);
        (path.starts_with("/api/v1/") && is_complete).then(|| (path.clone(), get.clone()))
    });
    reading.collect()
}

/// Access token of an administrator.
async fn administrator(settings: &Settings, service: &Service) -> String {
    let args = [
        "users",
        "create",
        "--email",
        "root@example.com",
        "--verified",
        "--admin",
    ];
    let made = run(settings, &args, &format!("{PASSWORD}\n")).await;
    assert!(made.status.success(), "{}", text(&made));
    let signed_in = service.log_in("root@example.com").await;
    let access = signed_in.body["access_token"].as_str();
    access.expect("it has one").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f64_a_standby_that_lags_is_not_read_beyond_the_bound() {
    let replicated = Replicated::new().await;
    let watched = replicated.serve().await;
    let ada = watched.service.sign_in("ada").await.access;
    watched.until_used().await;
    for _ in 0..2 {
        until("the standby has all events", async || {
            let reads = watched.reads().await;
            watched.events(&ada).await > 0 && watched.reads().await[0] > reads[0]
        })
        .await;
        replicated
            .execute_on_standby("SELECT pg_wal_replay_pause()")
            .await;
        let before = watched.events(&ada).await;
        watched.cause_event().await;
        let written = Instant::now();
        // What reads the primary shows a write at once.
        let renamed = json!({ "first_name": "Augusta" });
        let caller = &watched.service.caller;
        let renamed = caller.call(Method::PATCH, "/api/v1/users/me", Some(&ada), Some(renamed));
        assert!(is_fine(&renamed.await));
        let me = caller.me(&ada).await;
        assert_eq!(me.body["first_name"], "Augusta", "{me:?}");
        let seen = watched.events(&ada).await;
        assert!(
            seen == before || written.elapsed() > MAX_LAG,
            "{seen} of the standby"
        );
        until("the event is listed", async || {
            let asked = Instant::now();
            let seen = watched.events(&ada).await;
            // A request that began beyond the bound never gets rows of the time before it.
            let is_late = asked.duration_since(written) > MAX_LAG;
            assert!(
                seen > before || !is_late,
                "{:?} late",
                asked.duration_since(written)
            );
            seen > before
        })
        .await;
        watched.until_not_used().await;
        let lag = watched.metric("database_replica_lag_seconds ").await;
        assert!(lag > 1.0, "a lag of {lag}");
        let ready = watched.service.get("/health/ready").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        // An idle primary does not make it catch up.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!watched.is_used().await);
        replicated
            .execute_on_standby("SELECT pg_wal_replay_resume()")
            .await;
        let took = watched.until_used().await;
        assert!(took > Duration::from_secs(4), "used again after {took:?}");
    }
    let changes = watched.service.lines().filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("reading from the replica")
    });
    assert!(changes.count() >= 3, "{}", watched.service.written());
    drop(watched);
    replicated.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f64_a_standby_that_stops_hangs_or_is_promoted_fails_no_request() {
    let mut replicated = Replicated::new().await;
    let watched = replicated.serve().await;
    let ada = watched.service.sign_in("ada").await.access;
    watched.until_used().await;
    let all_fine = async || {
        let asked = (0..8).map(|_| watched.get(AUDIT_LOG, &ada));
        let replies = join_all(asked).await;
        let failed = replies.iter().find(|reply| !is_fine(reply));
        assert!(failed.is_none(), "{failed:?}");
        replies
            .iter()
            .map(|reply| reply.took)
            .max()
            .unwrap_or_default()
    };
    // Opens some connections, which are then cut.
    all_fine().await;
    let cut =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_runtime'";
    replicated.execute_on_standby(cut).await;
    all_fine().await;
    assert!(watched.metric("database_reads_repeated_total ").await >= 1.0);

    watched.until_used().await;
    all_fine().await;
    // As SIGSTOP does: connections stay open, and nothing comes back.
    replicated.proxy.set(Fault::Freeze);
    let took = all_fine().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    watched.until_not_used().await;
    let took = all_fine().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    replicated.proxy.set(Fault::None);
    watched.until_used().await;
    all_fine().await;

    let port = replicated.standby.port();
    replicated.standby.stop().await;
    all_fine().await;
    watched.until_not_used().await;
    let ready = watched.service.get("/health/ready").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    until("readiness is degraded", async || {
        let ready = watched.service.get("/health/ready").await;
        ready.status == 200 && ready.body["read_replica"] == "degraded"
    })
    .await;
    let home: &Path = replicated.standby_home.path();
    let back = Postgres::keep(home, Some(port)).await;
    replicated.standby = back.expect("it starts");
    replicated.proxy.point_at(replicated.standby.port());
    watched.until_used().await;
    let before = watched.reads().await;
    until("it is read again", async || {
        all_fine().await;
        watched.reads().await[0] > before[0]
    })
    .await;

    replicated.execute_on_standby("SELECT pg_promote()").await;
    watched.until_not_used().await;
    watched.cause_event().await;
    let before = watched.reads().await;
    all_fine().await;
    let after = watched.reads().await;
    assert_eq!(after[0], before[0], "it has a history of its own");
    assert!(watched.service.written().contains("it was promoted"));
    drop(watched);
    replicated.stop().await;
}

#[tokio::test]
async fn f64_a_read_url_that_leads_to_other_data_is_refused() {
    let world = World::new().await;
    let another = Database::empty().await;
    let server = Postgres::throw_away().await.expect("it starts");
    for (url, word) in [
        (another.runtime_url(), "leads to the database"),
        (world.owner_url(), "use the same role"),
        (server.url("postgres"), "another server"),
    ] {
        let settings = with(&world.settings, &[("DATABASE_READ_URL", &url)]);
        assert_refused(&settings, CHECK, &["DATABASE_READ_URL", word]).await;
    }
    let url = world.settings["DATABASE_URL"].clone();
    let upstream = url.parse().expect("it is a URL");
    let options = Options::for_service(PoolMode::Transaction);
    let pooler = PgBouncer::start_with(&upstream, options).await;
    let pooler = pooler.expect("it starts");
    let pooled = pooled_url(&url, &pooler);
    let settings = with(&world.settings, &[("DATABASE_READ_URL", &pooled)]);
    let words = ["DATABASE_READ_URL", "set DATABASE_DIRECT_URL"];
    assert_refused(&settings, CHECK, &words).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f64_a_read_url_of_the_primary_is_used_and_reported_also_through_a_pooler() {
    let world = World::new().await;
    let url = world.settings["DATABASE_URL"].clone();
    let upstream = url.parse().expect("it is a URL");
    let options = Options::for_service(PoolMode::Transaction);
    let pooler = PgBouncer::start_with(&upstream, options).await;
    let pooler = pooler.expect("it starts");
    let pooled = pooled_url(&url, &pooler);
    for (read_url, direct) in [(&url, None), (&pooled, Some(&url))] {
        let mut settings = with(&world.settings, &[("DATABASE_READ_URL", read_url), METRICS]);
        if let Some(direct) = direct {
            settings.insert("DATABASE_DIRECT_URL".to_owned(), direct.clone());
            let owner = world.owner_url();
            let migrating = with(&settings, &[("DATABASE_MIGRATION_URL", &owner)]);
            let migrated = run(&migrating, &["migrate"], "").await;
            assert!(migrated.status.success(), "{}", text(&migrated));
        }
        let report = text(&run(&settings, &["doctor"], "").await);
        assert!(finding(&report, CHECK).starts_with("ok"), "{report}");
        let warning = report
            .lines()
            .find(|line| line.starts_with("warn") && line.contains(CHECK));
        assert!(
            warning.is_some_and(|it| it.contains("leads to the primary")),
            "{report}"
        );
        let watched = Watched::start(&settings).await;
        let name = if direct.is_some() { "grace" } else { "ada" };
        let access = watched.service.sign_in(name).await.access;
        watched.until_used().await;
        assert!(watched.metric("database_replica_is_primary ").await > 0.0);
        let before = watched.reads().await;
        until("the replica replies", async || {
            assert!(watched.events(&access).await > 0);
            watched.reads().await[0] > before[0]
        })
        .await;
        assert!(watched.service.written().contains("leads to the primary"));
    }
}

#[tokio::test]
async fn f64_a_read_that_writes_is_refused_also_by_a_primary() {
    let world = World::new().await;
    let url = &world.settings["DATABASE_URL"];
    let settings = with(&world.settings, &[("DATABASE_READ_URL", url)]);
    let config = read_database(&settings).expect("it is valid");
    let replica = database::connect_replica(&config, &connection_options(&config));
    let replica = replica.expect("it is a URL").expect("it is set");
    let stop = CancellationToken::new();
    let watching = tokio::spawn(replica.clone().watch(stop.clone()));
    until("it is used", async || replica.is_used()).await;
    let mut reading = replica.begin("").await.expect("it is used");
    let connection = reading.connection().expect("it has not ended");
    let default: String =
        sqlx::query_scalar("SELECT current_setting('default_transaction_read_only')")
            .fetch_one(&mut *connection)
            .await
            .expect("it is read");
    assert_eq!(default, "on");
    let written = sqlx::raw_sql("DELETE FROM users").execute(connection).await;
    let refused = written.expect_err("it is refused");
    assert!(database::is_write_refused(&refused), "{refused}");
    assert!(replica.end(reading, Err::<(), _>(refused)).await.is_none());
    stop.cancel();
    watching.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f64_a_statement_that_conflicts_with_recovery_is_left_to_the_primary() {
    let replicated = Replicated::new().await;
    // Statements do not delay the replay.
    let hurry = "ALTER SYSTEM SET max_standby_streaming_delay = 0";
    replicated.execute_on_standby(hurry).await;
    replicated
        .execute_on_standby("SELECT pg_reload_conf()")
        .await;
    let config = read_database(&replicated.settings).expect("it is valid");
    let replica = database::connect_replica(&config, &connection_options(&config));
    let replica = replica.expect("it is a URL").expect("it is set");
    let stop = CancellationToken::new();
    let watching = tokio::spawn(replica.clone().watch(stop.clone()));
    until("it is used", async || replica.is_used()).await;
    let mut reading = replica.begin("").await.expect("it is used");
    let connection = reading.connection().expect("it has not ended");
    let lock = async {
        let mut primary = connect(&replicated.primary.url("app")).await;
        let mut standby = connect(&replicated.standby.url("app")).await;
        until("the statement on the standby has its lock", async || {
            count(&mut standby, SLEEPING).await > 0
        })
        .await;
        let locked = sqlx::raw_sql("BEGIN; LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE; COMMIT")
            .execute(&mut primary)
            .await;
        locked.expect("the primary locks it");
    };
    let read = sqlx::raw_sql("SELECT pg_sleep(25) FROM (SELECT count(*) FROM audit_log) AS c");
    let (read, ()) = tokio::join!(replica.bounded(read.execute(connection)), lock);
    let error = read.expect_err("the replay cancels it");
    let code = error.as_database_error().and_then(|it| it.code());
    assert_eq!(code.as_deref(), Some("40001"), "{error}");
    assert!(replica.end(reading, Err::<(), _>(error)).await.is_none());
    let mut next = replica.begin("").await.expect("it is used all the same");
    let connection = next.connection().expect("it has not ended");
    let rows = sqlx::raw_sql("SELECT 1").execute(connection).await;
    assert!(replica.end(next, rows).await.is_some_and(|it| it.is_ok()));
    stop.cancel();
    watching.await.expect("it ends");
    replicated.stop().await;
}
