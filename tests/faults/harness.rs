//! The binary under test, the world around it, and clients that keep count.

mod load;
mod proxy;
mod service;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clock::Rng;
use groundwork_dev::Inbox;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;

pub use load::{Load, Outcome, is_fine, median};
pub use proxy::{CONFIGURATION, PEER, Proxy, STRANGER, exchange, program};
pub use service::{Caller, Service, command, run};

/// A password that any account here may have.
pub const PASSWORD: &str = "correct horse battery staple";

/// Bound for what has to happen at all, on a machine of any load. Where a test shows that the service does
/// not wait, what it would wait for takes longer than this, or is counted.
pub const TIMEOUT: Duration = Duration::from_mins(1);

pub type Settings = HashMap<String, String>;

/// A migrated database of the test server, and an inbox.
pub struct World {
    pub settings: Settings,
    pub inbox: Inbox,
    database: Database,
}

impl World {
    pub async fn new() -> Self {
        let database = Database::copy_of(&given("TEST_DATABASE_TEMPLATE")).await;
        let inbox = Inbox::start().await;
        let settings = settings(&database.runtime_url(), &inbox.smtp_url());
        Self {
            settings,
            inbox,
            database,
        }
    }

    /// Starts the service with these settings besides the usual ones.
    pub async fn serve(&self, more: &[(&str, &str)]) -> Service {
        Service::start(&with(&self.settings, more), &["serve"]).await
    }

    /// The URL of the owner.
    pub fn owner_url(&self) -> String {
        self.database.owner_url()
    }

    /// The database as its owner, past whatever stands between it and the service.
    pub async fn owner(&self) -> PgConnection {
        connect(&self.database.owner_url()).await
    }
}

/// A database of the test server, which ends with the run.
pub struct Database(String);

impl Database {
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    /// An empty database with these options of `CREATE DATABASE`.
    pub async fn created(options: &str) -> Self {
        Self::copy_of(&format!("template0 {options}")).await
    }

    async fn copy_of(template: &str) -> Self {
        let bytes: [u8; 8] = Rng::system().bytes();
        let name = format!("f_{:016x}", u64::from_ne_bytes(bytes));
        let sql = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"));
        let mut admin = connect(&given("TEST_DATABASE_ADMIN_URL")).await;
        sqlx::raw_sql(sql)
            .execute(&mut admin)
            .await
            .expect("the database is created");
        Self(name)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn runtime_url(&self) -> String {
        self.within(&given("TEST_DATABASE_RUNTIME_URL"))
    }

    pub fn owner_url(&self) -> String {
        self.within(&given("TEST_DATABASE_ADMIN_URL"))
    }

    fn within(&self, server: &str) -> String {
        let mut url: Url = server.parse().expect("it is a URL");
        url.set_path(&self.0);
        url.into()
    }
}

/// What `make test-faults` tells of the servers it started.
pub fn given(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test-faults`"))
}

/// The settings of a process that is told where its database and its mail server are.
pub fn settings(database_url: &str, smtp_url: &str) -> Settings {
    let all = [
        ("APP_ENV", "development"),
        ("BIND_ADDR", "127.0.0.1:0"),
        ("PUBLIC_URL", "http://127.0.0.1"),
        ("JSON_LOGS", "true"),
        ("DATABASE_URL", database_url),
        ("DB_POOL_SIZE", "8"),
        ("DB_MAX_OVERFLOW", "8"),
        // Longer than by default: tests of a database that fails set it, and for the others a request that
        // a busy machine delays is no failure.
        ("DB_POOL_TIMEOUT", "10s"),
        ("PASSWORD_QUEUE_TIMEOUT", "10s"),
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
        ("SMTP_URL", smtp_url),
        ("MAIL_FROM", "Groundwork <no-reply@example.com>"),
        ("PASSWORD_MEMORY_KIB", "8192"),
        ("PASSWORD_ITERATIONS", "1"),
        // Many calls come from one client here; who tests limits sets them.
        ("HTTP_MAX_CONNECTIONS_PER_CLIENT", "100000"),
        ("HTTP_MAX_BODIES_PER_CLIENT", "100000"),
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
        ("LIMIT_FAILURES_CLIENT", "100000/1m"),
        ("LIMIT_FAILURES_ACCOUNT", "100000/1m"),
        ("PLAN_FREE_RATE", "100000"),
        // Clients that hang up leave their sessions behind.
        ("SESSION_MAX_COUNT", "100000"),
    ];
    with(&Settings::new(), &all)
}

/// Settings with some more.
pub fn with(settings: &Settings, more: &[(&str, &str)]) -> Settings {
    let more = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    settings.clone().into_iter().chain(more).collect()
}

pub async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the database answers")
}

/// One number out of the database.
pub async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(connection)
        .await
        .expect("it counts")
}

/// Polls until it is so, for [`TIMEOUT`] at most; returns how long that took.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    begun.elapsed()
}

/// The shortest of some attempts, which ends at the first below `enough`. A busy machine delays one attempt or
/// another; what the service itself waits for or computes is in each.
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
