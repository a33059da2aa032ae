//! The service under test: what production serves, on a database of its own, with a clock that the
//! test moves and an inbox that it reads.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, Rng};
use groundwork::app;
use groundwork::config::Config;
use groundwork::schema::connection_options;
use groundwork::state::AppState;
use groundwork::worker;
use groundwork_dev::Inbox;
use groundwork_dev::inbox::Message;
use http_toolkit::Draining;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

/// A password that any account here may have.
pub const PASSWORD: &str = "correct horse battery staple";

/// The document, to hold each answer against.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(app::openapi()).expect("the document is JSON"));

/// The service, one or more replicas of it, and the world around it.
pub struct TestApp {
    pub state: AppState,
    pub clock: Clock,
    pub inbox: Inbox,
    pub replica: Replica,
    pub settings: HashMap<String, String>,
    /// Connects as the owner, who sees the rows of all accounts.
    pub owner_db: PgPool,
    database: String,
    expects_dead_jobs: bool,
}

/// One process's worth of the service.
#[derive(Clone)]
pub struct Replica {
    pub state: AppState,
    pub root: Url,
    pub draining: Draining,
    client: reqwest::Client,
    _stop: Arc<StopOnDrop>,
}

struct StopOnDrop(CancellationToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What `make test` tells the tests of the servers it started.
pub fn given(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}

/// A database of the test server, for the runtime role.
pub fn database_url(name: &str) -> String {
    let mut url: Url = given("TEST_DATABASE_RUNTIME_URL")
        .parse()
        .expect("it is a URL");
    url.set_path(name);
    url.into()
}

/// The database for the service: its URL, and the direct one if `make test` has put a pooler in between.
fn service_urls(name: &str) -> (String, Option<String>) {
    let direct = database_url(name);
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let Ok(port) = std::env::var("TEST_DATABASE_POOLER_PORT") else {
        return (direct, None);
    };
    let mut pooled: Url = direct.parse().expect("it is a URL");
    let port = port.parse().expect("it is a port");
    pooled.set_port(Some(port)).expect("it takes a port");
    (pooled.into(), Some(direct))
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The service with these settings besides those of every test.
    pub async fn with(overrides: &[(&str, &str)]) -> Self {
        let start: DateTime<Utc> = "2026-03-14T09:26:53Z".parse().expect("it is a time");
        Self::with_clock(overrides, Clock::fixed(start)).await
    }

    /// The service with these settings and another clock than that of every test.
    pub async fn with_clock(overrides: &[(&str, &str)], clock: Clock) -> Self {
        let database = create_database().await;
        let inbox = Inbox::start().await;
        let settings = settings(&database, &inbox.smtp_url(), overrides);
        set_role_defaults(&settings).await;
        let replica = Replica::start(&settings, clock.clone()).await;
        let state = replica.state.clone();
        Self {
            state,
            clock,
            inbox,
            replica,
            settings,
            owner_db: PgPoolOptions::new()
                .max_connections(3)
                .connect_lazy(&owner_url(&database))
                .expect("it is a URL"),
            database,
            expects_dead_jobs: false,
        }
    }

    /// Another process of the same service: its own state and listener, the same database.
    pub async fn another_replica(&self) -> Replica {
        Replica::start(&self.settings, self.clock.clone()).await
    }

    /// A process of the same service with a clock of its own.
    pub async fn another_replica_at(&self, clock: Clock) -> Replica {
        Replica::start(&self.settings, clock).await
    }

    /// A process of the same service with other settings.
    pub async fn another_replica_with(&self, overrides: &[(&str, &str)]) -> Replica {
        let mut settings = self.settings.clone();
        settings.extend(
            overrides
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Replica::start(&settings, self.clock.clone()).await
    }

    /// Runs every job that is due, and those that they cause.
    pub async fn run_jobs(&self) {
        let config = config(&self.settings);
        let worker = worker::worker(self.state.clone(), &config.worker, CancellationToken::new());
        let worker = worker.await.expect("the worker starts");
        loop {
            worker.run_once().await.expect("the worker runs");
            if !self.a_job_is_due().await {
                break;
            }
        }
    }

    async fn a_job_is_due(&self) -> bool {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM graphile_worker._private_jobs
                WHERE run_at <= now() AND locked_at IS NULL AND attempts < max_attempts)",
        )
        .fetch_one(&self.state.db)
        .await
        .expect("the queue is there")
    }

    /// Makes every job due that waits for its next try.
    pub async fn hurry_jobs(&self) {
        sqlx::query("UPDATE graphile_worker._private_jobs SET run_at = now()")
            .execute(&self.state.db)
            .await
            .expect("the queue is there");
    }

    /// Jobs may be left when the test ends.
    pub fn expect_dead_jobs(&mut self) {
        self.expects_dead_jobs = true;
    }

    /// Delivers what waits, and answers the newest email to this address.
    pub async fn email_to(&self, email: &str) -> Arc<Message> {
        self.run_jobs().await;
        let messages = self.inbox.emails_to(email);
        messages
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("there is a message to {email}"))
    }

    /// Signs somebody up, up to and without the email.
    pub async fn register(&self, email: &str) {
        let answer = self
            .post(
                "/api/v1/auth/register",
                json!({ "email": email, "password": PASSWORD }),
            )
            .await;
        answer.assert_status(202);
    }

    /// An account whose address is verified: `name@example.com`.
    pub async fn sign_up(&self, name: &str) -> String {
        let email = format!("{name}@example.com");
        self.register(&email).await;
        let token = self
            .email_to(&email)
            .await
            .token()
            .expect("the message has a link");
        self.post("/api/v1/auth/verify-email", json!({ "token": token }))
            .await
            .assert_status(204);
        email
    }

    /// An account and a session of it.
    pub async fn sign_in(&self, name: &str) -> Session {
        let email = self.sign_up(name).await;
        self.log_in(&email).await
    }

    /// One more session of an account.
    pub async fn log_in(&self, email: &str) -> Session {
        let answer = self
            .post(
                "/api/v1/auth/login",
                json!({ "email": email, "password": PASSWORD }),
            )
            .await;
        answer.assert_status(200);
        Session {
            replica: self.replica.clone(),
            tokens: answer.body,
        }
    }

    /// The name of the test's database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The database as its owner, who may do what the service may not.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&owner_url(&self.database))
            .await
            .expect("the test server answers")
    }

    /// How many entries of this kind the audit log has.
    pub async fn audited(&self, event: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE event = $1")
            .bind(event)
            .fetch_one(&self.owner_db)
            .await
            .expect("the log is there")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.replica.call(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.replica
            .call(Method::POST, path, None, Some(body))
            .await
    }
}

impl Drop for TestApp {
    /// Holds that the test left no job behind, and drops its database.
    fn drop(&mut self) {
        let (database, check) = (
            self.database.clone(),
            !self.expects_dead_jobs && !std::thread::panicking(),
        );
        let tidied = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime starts")
                .block_on(tidy(&database, check))
        });
        let left = tidied.join().expect("the database is dropped");
        assert!(left == 0, "the test leaves {left} job(s) behind");
    }
}

async fn tidy(database: &str, check: bool) -> i64 {
    let mut left = 0;
    if check {
        let mut own = PgConnection::connect(&database_url(database))
            .await
            .expect("it connects");
        left = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
            .fetch_one(&mut own)
            .await
            .expect("the queue is there");
        own.close().await.expect("it closes");
    }
    let mut admin = admin().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "DROP DATABASE {database} WITH (FORCE)"
    )))
    .execute(&mut admin)
    .await
    .expect("the database is dropped");
    left
}

/// A database of the test server, for the owner of what is in it.
pub fn owner_url(name: &str) -> String {
    let mut url: Url = given("TEST_DATABASE_ADMIN_URL")
        .parse()
        .expect("it is a URL");
    url.set_path(name);
    url.into()
}

pub async fn admin() -> PgConnection {
    let url = given("TEST_DATABASE_ADMIN_URL");
    PgConnection::connect(&url)
        .await
        .expect("the test server answers")
}

/// A database of its own, copied from the migrated one; answers its name.
pub async fn create_database() -> String {
    create_database_from(&given("TEST_DATABASE_TEMPLATE")).await
}

/// A database of its own, copied from `template`.
pub async fn create_database_from(template: &str) -> String {
    let name = format!("t_{}", hex(&Rng::system().bytes::<8>()));
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE DATABASE {name} TEMPLATE {template}"
    )))
    .execute(&mut admin().await)
    .await
    .expect("the database is created");
    name
}

pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The shortest of some attempts, which ends at the first below `enough`. A busy machine delays one attempt or
/// another; what the service itself waits for is in each.
pub async fn fastest(enough: Duration, mut attempt: impl AsyncFnMut() -> Duration) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        shortest = shortest.min(attempt().await);
        if shortest < enough {
            break;
        }
    }
    shortest
}

/// The settings of a development process with cheap passwords.
pub fn settings(database: &str, smtp: &str, overrides: &[(&str, &str)]) -> HashMap<String, String> {
    let (database, direct) = service_urls(database);
    let direct = direct.as_deref().map(|url| ("DATABASE_DIRECT_URL", url));
    let common = [
        ("APP_ENV", "development"),
        ("BIND_ADDR", "127.0.0.1:0"),
        ("PUBLIC_URL", "http://127.0.0.1"),
        ("DATABASE_URL", &database),
        ("DB_POOL_SIZE", "4"),
        // Longer than by default: a test of a timeout sets it, and for the others a request that a busy
        // machine delays is no failure.
        ("DB_POOL_TIMEOUT", "20s"),
        ("DB_LOCK_TIMEOUT", "20s"),
        ("HTTP_REQUEST_TIMEOUT", "60s"),
        ("PASSWORD_QUEUE_TIMEOUT", "20s"),
        ("BREACH_CHECK_TIMEOUT", "10s"),
        ("REDIS_TIMEOUT", "1s"),
        ("DB_MAX_OVERFLOW", "4"),
        (
            "JWT_SIGNING_KEYS",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ),
        (
            "TOKEN_SECRET",
            "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8",
        ),
        (
            "ENCRYPTION_KEYS",
            "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8",
        ),
        ("SMTP_URL", smtp),
        ("MAIL_FROM", "Groundwork <no-reply@example.com>"),
        ("PASSWORD_MEMORY_KIB", "8192"),
        ("PASSWORD_ITERATIONS", "1"),
        // Many calls come from one client here; who tests limits sets them.
        ("LIMIT_GUARD", "1000000/1s"),
        ("LIMIT_ANONYMOUS", "100000/1m"),
        ("LIMIT_AUTH", "100000/1m"),
        ("LIMIT_SESSION", "100000/1m"),
        ("LIMIT_REGISTER", "100000/1h"),
        ("LIMIT_RESET", "100000/1h"),
        ("LIMIT_RESEND", "100000/1h"),
        ("LIMIT_EMAIL", "100000/1h"),
        ("LIMIT_NOTICE", "100000/1h"),
        ("LIMIT_REAUTHENTICATION", "100000/1h"),
        ("LIMIT_EMAIL_CHANGE", "100000/1h"),
        ("LIMIT_UPLOAD", "100000/1m"),
        ("PLAN_FREE_RATE", "100000"),
        // Wrong passwords are what many tests are about, and the clock stands still.
        ("LIMIT_FAILURES_CLIENT", "10000/1m"),
        ("LIMIT_FAILURES_ACCOUNT", "10000/1m"),
    ];
    let all = common.iter().chain(&direct).chain(overrides);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// As `migrate` does; those of a database are not copied with it.
async fn set_role_defaults(settings: &HashMap<String, String>) {
    let config = config(settings).database;
    let options = connection_options(&config);
    let set = database::set_role_defaults(&config, &options).await;
    set.expect("the role sets its defaults");
}

pub fn config(settings: &HashMap<String, String>) -> Config {
    let mut settings = settings.clone();
    // Production refuses passwords as cheap as ours.
    if settings["APP_ENV"] == "production" {
        settings.insert("PASSWORD_ITERATIONS".to_owned(), "5".to_owned());
    }
    Config::read(&settings).expect("the settings are good")
}

impl Replica {
    async fn start(settings: &HashMap<String, String>, clock: Clock) -> Self {
        let config = config(settings);
        let state = AppState::new(&config, clock, Rng::system()).expect("the state is built");
        let listener = TcpListener::bind(config.http.bind_addr)
            .await
            .expect("a port is free");
        let addr = listener.local_addr().expect("the listener has an address");
        let stop = CancellationToken::new();
        let draining = Draining::default();
        let app = app::router(&state, &config, draining.clone());
        let (http, stopped) = (config.http.clone(), stop.clone());
        tokio::spawn(async move { http_toolkit::serve(listener, app, &http, stopped).await });
        let client = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the client is built");
        let root = format!("http://{addr}").parse().expect("it is a URL");
        Self {
            state,
            root,
            draining,
            client,
            _stop: Arc::new(StopOnDrop(stop)),
        }
    }

    /// A request to a path, for what [`Replica::call`] does not do.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, self.root.join(path).expect("it is a path"))
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(method.clone(), path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        if requires_key(&method, path) {
            request = request.header("idempotency-key", hex(&Rng::system().bytes::<16>()));
        }
        self.send(&method, path, request).await
    }

    /// Sends a request and holds its answer against the document.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Answer {
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("the answer is whole");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        assert_documented(method, path, status);
        Answer {
            status,
            headers,
            body,
            bytes: bytes.to_vec(),
        }
    }

    /// Goes on with a session.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        let body = json!({ "refresh_token": refresh_token });
        self.call(Method::POST, "/api/v1/auth/refresh", None, Some(body))
            .await
    }
}

/// Whether the document requires an `Idempotency-Key`.
fn requires_key(method: &Method, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let parameters = &DOCUMENT["paths"][path][method.as_str().to_lowercase()]["parameters"];
    let is_it = |it: &Value| it["name"] == "Idempotency-Key" && it["required"] == true;
    parameters
        .as_array()
        .is_some_and(|all| all.iter().any(is_it))
}

/// Holds that the document knows this status of this operation. Paths that it does not have are
/// no business of it.
fn assert_documented(method: &Method, path: &str, status: StatusCode) {
    let path = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("it has paths");
    let Some((template, item)) = paths.iter().find(|(template, _)| fits(template, path)) else {
        return;
    };
    let operation = &item[method.as_str().to_lowercase()];
    if operation.is_null() {
        return;
    }
    let known = operation["responses"].get(status.as_str());
    assert!(
        known.is_some(),
        "{method} {template} answers {status}, which its description does not know"
    );
}

/// Whether a path is one that the template stands for.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(text)) if part == text || part.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// An answer, read in whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
    }

    /// Holds that this is the one problem with this code, whole and in shape.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        self.assert_status(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:problem:{code}"));
        assert_eq!(
            self.body["request_id"],
            self.headers["x-request-id"].to_str().expect("it is text")
        );
        assert!(self.body["title"].is_string());
        match status {
            401 => assert!(self.headers.contains_key("www-authenticate")),
            405 => assert!(self.headers.contains_key("allow")),
            429 | 503 => assert!(self.headers.contains_key("retry-after")),
            _ => {}
        }
    }

    /// Holds that this one field was refused.
    #[track_caller]
    pub fn assert_field(&self, field: &str) {
        self.assert_problem(422, "invalid_fields");
        assert_eq!(self.body["errors"][0]["field"], field, "{}", self.body);
    }
}

/// Somebody who is signed in.
pub struct Session {
    pub replica: Replica,
    pub tokens: Value,
}

impl Session {
    pub fn access(&self) -> &str {
        self.tokens["access_token"]
            .as_str()
            .expect("there is an access token")
    }

    pub fn refresh_token(&self) -> &str {
        self.tokens["refresh_token"]
            .as_str()
            .expect("there is a refresh token")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.replica
            .call(Method::GET, path, Some(self.access()), None)
            .await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.replica
            .call(Method::POST, path, Some(self.access()), Some(body))
            .await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.replica
            .call(Method::PATCH, path, Some(self.access()), Some(body))
            .await
    }

    /// Whether the access token still opens the door.
    pub async fn is_signed_in(&self) -> bool {
        self.get("/api/v1/users/me").await.status == 200
    }
}
