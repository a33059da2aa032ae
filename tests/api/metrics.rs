//! What Prometheus reads on the internal listener, and that nobody reads it on the public one.

use std::collections::BTreeSet;
use std::time::Duration;

use groundwork::auth::PurgeExpired;
use groundwork::files::{self, VerifyFiles};
use groundwork::metrics::{self, Kind};
use groundwork::monitor;
use groundwork::privacy;
use groundwork::storage::CopyObjects;
use groundwork::usage;
use groundwork_dev::{RangeServer, S3, Stripe};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::billing::sign;
use crate::harness::{PASSWORD, TestApp, config, given};
use crate::kit::files::{BUCKET, png, second_place, storage};
use crate::logout::LOGOUT;

/// The service with its internal listener, which ends before the service's database does: a
/// connection that is half open when everything stands still would hold that up for a minute.
struct Monitored {
    app: TestApp,
    url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _breaches: RangeServer,
}

impl Monitored {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(further: &[(&str, &str)]) -> Self {
        let redis = given("TEST_REDIS_URL");
        let breaches = RangeServer::start().await;
        let settings = [
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("REDIS_URL", &redis),
            ("BREACH_CHECK_URL", &breaches.url()),
        ];
        let app = TestApp::with(&[&settings[..], further].concat()).await;
        let stop = CancellationToken::new();
        let config = config(&app.settings);
        let monitor = monitor::start(&app.state, &config, stop.clone()).await;
        let monitor = monitor.expect("it listens").expect("it is asked for");
        let addr = monitor.local_addr().expect("it is bound");
        Self {
            app,
            url: format!("http://{addr}/health/metrics"),
            stop,
            task: tokio::spawn(monitor.run()),
            _breaches: breaches,
        }
    }

    async fn scrape(&self) -> Scrape {
        Scrape::of(&self.url).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
        // Connections that the pool is opening would be left half open.
        self.app.state.db.close().await;
    }
}

/// The series of one scrape: a name with its labels, and a value.
struct Scrape(Vec<(String, f64)>, String);

impl Scrape {
    async fn of(url: &str) -> Self {
        let answer = reqwest::get(url).await.expect("it answers");
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .is_ok_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
        );
        let text = answer.text().await.expect("it is text");
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let series = series.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(series.collect(), text)
    }

    /// The sum of the series of a name whose labels have all of these.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &str| {
            labels
                .iter()
                .all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
        };
        self.0
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name) && has(series))
            .map(|(_, value)| value)
            .sum()
    }

    /// The names that are typed, which is every family, without those of the process.
    fn own_families(&self) -> BTreeSet<&str> {
        let typed = self.1.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some(name)
        });
        typed.filter(|name| !name.starts_with("process_")).collect()
    }
}

#[tokio::test]
async fn what_happens_is_counted_by_route_template_and_outcome() {
    let monitored = Monitored::start().await;
    let app = &monitored.app;
    let before = monitored.scrape().await;
    let session = app.sign_in("ada").await;
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse battery" });
    app.post("/api/v1/auth/login", wrong)
        .await
        .assert_status(401);
    let refreshed = session.replica.refresh(session.refresh_token()).await;
    refreshed.assert_status(200);
    session.replica.refresh("never-issued").await;
    session.get("/api/v1/users/me").await.assert_status(200);
    app.get("/api/v1/nothing/here-1").await.assert_status(404);
    let odd = Method::from_bytes(b"BREW").expect("it is a method");
    app.replica
        .request(odd, "/coffee")
        .send()
        .await
        .expect("it is answered");
    let after = monitored.scrape().await;

    for (name, labels, at_least) in [
        (
            "http_requests_total",
            &[
                ("route", "/api/v1/users/me"),
                ("method", "GET"),
                ("status", "200"),
            ][..],
            1.0,
        ),
        (
            "http_requests_total",
            &[("route", "/api/v1/auth/login"), ("status", "401")],
            1.0,
        ),
        (
            "http_requests_total",
            &[("route", "unmatched"), ("method", "other")],
            1.0,
        ),
        (
            "http_request_duration_seconds_count",
            &[("route", "/api/v1/auth/login"), ("class", "2xx")],
            1.0,
        ),
        (
            "http_request_duration_seconds_bucket",
            &[("route", "/api/v1/users/me"), ("le", "10")],
            1.0,
        ),
        ("sign_ins_total", &[("outcome", "signed_in")], 1.0),
        ("sign_ins_total", &[("outcome", "refused")], 1.0),
        ("token_refreshes_total", &[("outcome", "rotated")], 1.0),
        ("password_hash_wait_seconds_count", &[], 3.0),
        ("password_hash_duration_seconds_count", &[], 3.0),
        (
            "jobs_total",
            &[("task", "auth.send_verification"), ("outcome", "done")],
            1.0,
        ),
        (
            "smtp_send_duration_seconds_count",
            &[("outcome", "ok")],
            1.0,
        ),
    ] {
        let grown = after.sum(name, labels) - before.sum(name, labels);
        assert!(grown >= at_least, "{name} {labels:?} grew by {grown}");
    }
    assert!(after.sum("http_connections", &[]) >= 1.0);
    assert!(after.sum("db_pool_connections", &[]) >= 1.0);
    assert!(after.sum("db_pool_max_connections", &[]) >= 8.0);
    for name in metrics::PROCESS {
        assert!(after.sum(name, &[]) > 0.0, "{name} is not reported");
    }
    for secret in ["here-1", "coffee", "BREW", "ada", PASSWORD] {
        assert!(!after.1.contains(secret), "{secret} is a label");
    }
    monitored.end().await;
}

#[tokio::test]
async fn the_page_and_a_scrape_name_the_same_metrics() {
    let nobody = "postgres://app@127.0.0.1:1/app?sslmode=disable";
    let monitored = Monitored::start_with(&[("DATABASE_READ_URL", nobody)]).await;
    let ada = monitored.app.sign_in("ada").await;
    ada.get("/api/v1/users/me").await.assert_status(200);
    let counts = usage::flush(&monitored.app.state).await;
    counts.expect("they are written");
    let redis = monitored.app.state.redis.clone();
    let redis = redis.expect("it is configured");
    redis.ping().await.expect("it answers");
    let stripe = stripe_client::StripeOptions {
        api_url: "http://127.0.0.1:1".parse().expect("it is a URL"),
        secret_key: "sk_test_metrics".into(),
        timeout: Duration::from_secs(1),
        calls_per_second: 10,
        user_agent: "test",
    };
    let stripe = stripe_client::Stripe::new(stripe, clock::Rng::system()).expect("it is built");
    let account = stripe_client::RequestBuilder::new(stripe_client::StripeMethod::Get, "/account");
    stripe.read_raw(account).await.expect_err("nobody listens");
    let storage = object_store::ObjectStore::new(&object_store::StorageConfig {
        role: object_store::StoreRole::Primary,
        bucket: "metrics".to_owned(),
        endpoint: Some("http://127.0.0.1:1".parse().expect("it is a URL")),
        public_endpoint: None,
        region: "us-east-1".to_owned(),
        access_key: Some(object_store::AccessKey {
            id: "metrics".to_owned(),
            secret: "of-a-test".into(),
        }),
        timeout: Duration::from_secs(1),
    });
    let listed = storage.list("", None, 1).await;
    listed.expect_err("nobody listens");
    metrics::observe_file_scan(std::time::Instant::now(), metrics::Scan::Unavailable);
    metrics::set_copy_time(None);
    // The first samples come at once, though not before the first scrape.
    let names: BTreeSet<&str> = metrics::all().map(|family| family.name).collect();
    let mut scrape = monitored.scrape().await;
    for _ in 0..600 {
        if scrape.own_families() == names {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        scrape = monitored.scrape().await;
    }
    assert_eq!(scrape.own_families(), names, "{}", scrape.1);
    described(&scrape);
    monitored.end().await;
}

fn described(scrape: &Scrape) {
    for family in metrics::all() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        for line in [
            format!("# HELP {} {}", family.name, family.help),
            format!("# TYPE {} {kind}", family.name),
        ] {
            assert!(scrape.1.lines().any(|it| it == line), "no {line}");
        }
        assert_eq!(
            family.name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{} is named after its kind",
            family.name
        );
        let own = scrape.0.iter().filter(|(series, _)| {
            let name = series.split('{').next().unwrap_or_default();
            name == family.name || name.strip_suffix("_count") == Some(family.name)
        });
        for (series, _) in own {
            let labels: BTreeSet<&str> = series
                .split(['{', ','])
                .skip(1)
                .filter_map(|label| label.split('=').next())
                .collect();
            let declared: BTreeSet<&str> = family.labels.iter().copied().collect();
            assert_eq!(labels, declared, "{series}");
        }
    }
}

#[tokio::test]
async fn the_public_listener_has_no_metrics() {
    let monitored = Monitored::start().await;
    let answer = monitored.app.get("/health/metrics").await;
    answer.assert_problem(404, "not_found");
    let elsewhere = monitored.url.replace("/health/metrics", "/api/v1/users/me");
    let answer = reqwest::get(elsewhere).await.expect("it answers");
    assert_eq!(
        answer.status(),
        404,
        "the internal listener serves metrics alone"
    );
    monitored.end().await;
}

#[tokio::test]
async fn nothing_is_listened_on_unless_asked_for() {
    let app = TestApp::new().await;
    let config = config(&app.settings);
    let monitor = monitor::start(&app.state, &config, CancellationToken::new()).await;
    assert!(monitor.expect("it is no fault").is_none());
}

#[tokio::test]
async fn webhooks_are_counted_by_outcome_and_the_one_that_waits_longest_is_the_lag() {
    let stripe = Stripe::start().await;
    let url = stripe.url();
    let monitored = Monitored::start_with(&[
        ("STRIPE_SECRET_KEY", "sk_test_metrics"),
        ("STRIPE_API_URL", &url),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_test"),
    ])
    .await;
    let app = &monitored.app;
    let now = app.clock.now().timestamp();
    let deliver = async |id: &str, kind: &str, secret: &str| {
        let event = json!({
            "id": id, "object": "event", "type": kind, "created": now, "livemode": false,
            "data": { "object": { "id": "in_1", "object": "invoice", "customer": "cus_1" } },
        });
        let body = event.to_string().into_bytes();
        let signature = sign(secret, now, &body);
        app.replica.deliver_signed(&signature, &body).await.status
    };
    let before = monitored.scrape().await;
    assert_eq!(deliver("evt_1", "invoice.paid", "whsec_test").await, 200);
    assert_eq!(deliver("evt_1", "invoice.paid", "whsec_test").await, 200);
    assert_eq!(
        deliver("evt_2", "balance.available", "whsec_test").await,
        200
    );
    assert_eq!(deliver("evt_3", "invoice.paid", "whsec_other").await, 400);

    let after = monitored.scrape().await;
    for outcome in ["stored", "repeated", "ignored", "refused"] {
        let labels = [("outcome", outcome)];
        let count = |scrape: &Scrape| scrape.sum("stripe_webhooks_total", &labels);
        assert!(count(&after) > count(&before), "{outcome}");
    }
    app.clock.advance(Duration::from_mins(10));
    let mut looks = 0;
    while monitored
        .scrape()
        .await
        .sum("stripe_webhook_lag_seconds", &[])
        < 600.0
    {
        looks += 1;
        assert!(looks < 600, "the lag is not seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.hurry_jobs().await;
    app.run_jobs().await;
    monitored.end().await;
}

#[tokio::test]
async fn rows_past_their_retention_are_reported_until_a_job_deletes_them() {
    let monitored = Monitored::start_with(&[("SESSION_RETENTION", "2d")]).await;
    let app = &monitored.app;
    let ada = app.sign_in("ada").await;
    ada.log_out(LOGOUT).await.assert_status(204);
    let overdue = async || {
        privacy::sample_retention(&app.state).await;
        let labels = [("rows", "ended sessions")];
        monitored
            .scrape()
            .await
            .sum("retention_overdue_seconds", &labels)
    };
    app.clock.advance(Duration::from_hours(47));
    assert!(overdue().await < 1.0);
    app.clock.advance(Duration::from_hours(24));
    let seconds = overdue().await;
    assert!((80_000.0..90_000.0).contains(&seconds), "{seconds}");
    let enqueued = job_queue::enqueue(&app.state.db, &PurgeExpired::default(), None).await;
    enqueued.expect("it is enqueued");
    app.run_jobs().await;
    assert!(overdue().await < 1.0);
    monitored.end().await;
}

#[tokio::test]
async fn the_age_of_the_oldest_request_about_personal_data_is_reported() {
    let monitored = Monitored::start().await;
    let app = &monitored.app;
    let age = async || {
        privacy::sample_retention(&app.state).await;
        monitored
            .scrape()
            .await
            .sum("data_request_oldest_seconds", &[])
    };
    assert!(age().await < 1.0);
    let now = app.clock.now();
    app.execute(&format!(
        "INSERT INTO data_requests (id, kind, reference, received_at, answer, closed_at)
             VALUES (gen_random_uuid(), 'access', 'x', '{now}'::timestamptz - interval '21 days', NULL, NULL),
                    (gen_random_uuid(), 'access', 'x', '{now}'::timestamptz - interval '30 days', 'x', '{now}')"
    ))
    .await;
    let seconds = age().await;
    assert!((1_814_400.0..1_814_500.0).contains(&seconds), "{seconds}");
    monitored.end().await;
}

#[tokio::test]
async fn the_age_of_the_copy_and_the_files_that_differ_are_sampled() {
    let [original, place] = [S3::throw_away().await, S3::throw_away().await];
    original.ensure_bucket(BUCKET).expect("it is created");
    let (url, place_url) = (original.url(), place.url());
    let settings = [&storage(&url)[..], &second_place(&place_url, BUCKET)].concat();
    let monitored = Monitored::start_with(&settings).await;
    let (app, name) = (&monitored.app, "file_copy_last_success_timestamp_seconds");
    let scrape = monitored.scrape().await;
    assert!(scrape.1.contains(&format!("\n{name} 0\n")), "{}", scrape.1);

    // There is no bucket yet.
    let (db, copy, verify) = (
        &app.state.db,
        CopyObjects::default(),
        VerifyFiles::default(),
    );
    let enqueued = job_queue::enqueue(db, &copy, None).await;
    enqueued.expect("it is enqueued");
    app.run_jobs().await;
    place.ensure_bucket(BUCKET).expect("it is created");
    app.hurry_jobs().await;
    app.run_jobs().await;
    let ada = app.sign_in("ada").await;
    ada.upload("image/png", &png(1)).await;
    original.remove(BUCKET, &original.keys(BUCKET)[0]);
    app.clock.advance(Duration::from_hours(24 * 33));
    files::sample_verified(&app.state).await;
    let scrape = monitored.scrape().await;
    let overdue = scrape.sum("files_verify_overdue_seconds", &[]);
    assert!((overdue - 3.0 * 86400.0).abs() < 1.0, "{overdue}");
    let enqueued = job_queue::enqueue(db, &verify, None).await;
    enqueued.expect("it is enqueued");
    app.run_jobs().await;
    files::sample_verified(&app.state).await;
    let scrape = monitored.scrape().await;
    for (name, labels, value) in [
        ("file_copies_total", &[("outcome", "failed")][..], 1.0),
        ("file_copies_total", &[("outcome", "ok")], 1.0),
        ("files_verified_total", &[("outcome", "missing")], 1.0),
        ("files_differing", &[], 1.0),
        ("files_verify_overdue_seconds", &[], 0.0),
        (name, &[], 1_773_480_413.0),
    ] {
        let found = scrape.sum(name, labels);
        assert!((found - value).abs() < 1.0, "{name} {labels:?}: {found}");
    }
    monitored.end().await;
}
