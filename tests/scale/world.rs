//! A PostgreSQL with a million users that counts its statements.

use groundwork_dev::{Inbox, Postgres};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use uuid::Uuid;

use crate::harness::{Settings, given, run, settings, with};

pub const USERS: i32 = 1_000_000;

const DATABASE: &str = "app";

/// As many connections as 50 replicas have; write-ahead log as on a primary with standbys.
const SERVER: [&str; 7] = [
    "max_connections=900",
    "shared_buffers=512MB",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.max=5000",
    "wal_level=replica",
    "full_page_writes=on",
    "max_wal_size=4GB",
];

/// A migrated database with users, and an inbox.
pub struct World {
    pub settings: Settings,
    pub postgres: Postgres,
    _inbox: Inbox,
}

impl World {
    pub async fn new() -> Self {
        let postgres = Postgres::throw_away_with(&SERVER).await;
        let postgres = postgres.expect("PostgreSQL starts");
        let inbox = Inbox::start().await;
        let created = postgres.ensure_database(DATABASE).await;
        created.expect("the database is created");
        let settings = with(
            &settings(&postgres.runtime_url(DATABASE), &inbox.smtp_url()),
            &[
                ("DATABASE_MIGRATION_URL", &postgres.url(DATABASE)),
                ("REDIS_URL", &given("TEST_REDIS_URL")),
                ("METRICS_ADDR", "127.0.0.1:0"),
                // As many as the page on scale has for 50 replicas, opened at the start.
                ("DB_POOL_SIZE", "8"),
                ("DB_MAX_OVERFLOW", "0"),
                ("PASSWORD_THREADS", "1"),
            ],
        );
        let migrated = run(&settings, &["migrate"], "").await;
        assert!(migrated.status.success(), "{migrated:?}");
        let world = Self {
            settings,
            postgres,
            _inbox: inbox,
        };
        let mut owner = world.connect(DATABASE).await;
        fill(&mut owner).await;
        // In another database, since `migrate` examines the schemas of its own.
        let mut statistics = world.statistics().await;
        let extension = "CREATE EXTENSION pg_stat_statements";
        statistics.execute(extension).await.expect("it is there");
        world
    }

    /// The database with the statistics of all statements.
    pub async fn statistics(&self) -> PgConnection {
        self.connect("postgres").await
    }

    /// Ids of some users.
    pub async fn accounts(&self, count: i32) -> Vec<Uuid> {
        let mut owner = self.connect(DATABASE).await;
        let ids = sqlx::query_scalar("SELECT id FROM users LIMIT $1");
        let ids = ids.bind(count).fetch_all(&mut owner).await;
        ids.expect("they are read")
    }

    async fn connect(&self, database: &str) -> PgConnection {
        let connected = PgConnection::connect(&self.postgres.url(database)).await;
        connected.expect("the database responds")
    }
}

async fn fill(owner: &mut PgConnection) {
    let users = format!(
        "INSERT INTO users (id, email, password_hash, first_name, last_name, email_verified_at, created_at, updated_at)
         SELECT gen_random_uuid(), 'somebody.' || n || '@example.com', repeat('x', 97), 'Somebody', 'Name ' || n, at, at, at
         FROM generate_series(1, {USERS}) AS n, LATERAL (SELECT now() - n * interval '30 seconds' AS at) AS made"
    );
    let filled = owner.execute(AssertSqlSafe(users)).await;
    filled.expect("the users are written");
    let analyzed = owner.execute("VACUUM ANALYZE").await;
    analyzed.expect("the tables are analyzed");
}
