//! PgBouncer between the service and PostgreSQL: what is refused, and what serves.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use futures_util::future::join_all;
use groundwork::config::read_database;
use groundwork::schema::connection_options;
use groundwork_dev::files::Scratch;
use groundwork_dev::pgbouncer::{Options, PgBouncer, PoolMode, Program};
use groundwork_dev::{Inbox, Postgres};
use sqlx::PgConnection;

use crate::databases::{FITNESS, finding, text};
use crate::harness::{
    Database, Load, Service, Settings, World, connect, count, is_fine, run, settings, until, with,
};

const DIRECT: &str = "DATABASE_DIRECT_URL leads to the same database";
const MIGRATION: &str = "DATABASE_MIGRATION_URL leads to the same database";

/// A migrated database behind a pooler.
pub struct Behind {
    pub world: World,
    pub pooler: PgBouncer,
    /// Without `DATABASE_DIRECT_URL`.
    pub pooled: Settings,
    pub direct_url: String,
}

impl Behind {
    pub async fn a_pooler(options: Options) -> Self {
        let world = World::new().await;
        let direct_url = world.settings["DATABASE_URL"].clone();
        let url = direct_url.parse().expect("it is a URL");
        let pooler = PgBouncer::start_with(&url, options).await;
        let pooler = pooler.expect("it starts");
        let pooled = pooled_url(&direct_url, &pooler);
        Self {
            pooled: with(&world.settings, &[("DATABASE_URL", &pooled)]),
            world,
            pooler,
            direct_url,
        }
    }

    /// Settings with `DATABASE_DIRECT_URL`, and the defaults of the role.
    pub async fn migrated(&self, more: &[(&str, &str)]) -> Settings {
        let settings = with(
            &with(&self.pooled, &[("DATABASE_DIRECT_URL", &self.direct_url)]),
            more,
        );
        let owner = self.world.owner_url();
        let migrating = with(&settings, &[("DATABASE_MIGRATION_URL", &owner)]);
        let migrated = run(&migrating, &["migrate"], "").await;
        assert!(migrated.status.success(), "{}", text(&migrated));
        settings
    }
}

pub fn pooled_url(direct: &str, pooler: &PgBouncer) -> String {
    let mut url: url::Url = direct.parse().expect("it is a URL");
    url.set_port(Some(pooler.port())).expect("it takes a port");
    url.into()
}

async fn doctor(settings: &Settings) -> String {
    text(&run(settings, &["doctor"], "").await)
}

/// Asserts that `doctor` reports a fault with all of `words`, and that neither command starts, which says them too.
pub async fn assert_refused(settings: &Settings, check: &str, words: &[&str]) {
    let report = doctor(settings).await;
    let found = finding(&report, check);
    assert!(found.starts_with("FAULT"), "{found}");
    for command in ["serve", "worker"] {
        let ended: Output = run(settings, &[command], "").await;
        assert_eq!(ended.status.code(), Some(1), "{}", text(&ended));
        for word in words {
            assert!(found.contains(word), "{word}: {found}");
            assert!(text(&ended).contains(word), "{word}: {}", text(&ended));
        }
    }
}

#[tokio::test]
async fn f61_a_pooler_by_the_transaction_is_refused_without_a_direct_url() {
    let behind = Behind::a_pooler(Options::for_service(PoolMode::Transaction)).await;
    let words = ["DATABASE_DIRECT_URL", "pool_mode = session"];
    assert_refused(&behind.pooled, FITNESS, &words).await;
}

#[tokio::test]
async fn f61_a_pooler_that_does_not_follow_prepared_statements_is_refused() {
    let by_transaction = Options::for_service(PoolMode::Transaction);
    let old = Options {
        program: Program::OfSystem,
        ..by_transaction
    };
    let disabled = Options {
        prepared_statements: 0,
        ..by_transaction
    };
    let mut all = vec![disabled];
    if !Program::OfSystem.follows_statements().expect("it runs") {
        all.push(old);
    }
    for options in all {
        let behind = Behind::a_pooler(options).await;
        let direct = [("DATABASE_DIRECT_URL", behind.direct_url.as_str())];
        let words = ["1.21", "max_prepared_statements"];
        assert_refused(&with(&behind.pooled, &direct), FITNESS, &words).await;
    }
}

#[tokio::test]
async fn f61_a_pooler_by_the_statement_is_refused() {
    let behind = Behind::a_pooler(Options::for_service(PoolMode::Statement)).await;
    let direct = [("DATABASE_DIRECT_URL", behind.direct_url.as_str())];
    for settings in [with(&behind.pooled, &direct), behind.pooled.clone()] {
        assert_refused(&settings, FITNESS, &["pool_mode = statement"]).await;
    }
}

#[tokio::test]
async fn f61_a_direct_url_that_leads_elsewhere_is_refused() {
    let behind = Behind::a_pooler(Options::for_service(PoolMode::Transaction)).await;
    let another = Database::empty().await;
    let server = Postgres::throw_away().await.expect("it starts");
    for (url, word) in [
        (behind.pooled["DATABASE_URL"].clone(), "shares sessions"),
        (another.runtime_url(), "leads to the database"),
        (behind.world.owner_url(), "use the same role"),
        (server.url("postgres"), "another server"),
    ] {
        let settings = with(&behind.pooled, &[("DATABASE_DIRECT_URL", &url)]);
        assert_refused(&settings, DIRECT, &["DATABASE_DIRECT_URL", word]).await;
    }
    let settings = behind.migrated(&[]).await;
    for (url, word) in [
        (another.owner_url(), "leads to the database"),
        (server.url("postgres"), "another server"),
    ] {
        let settings = with(&settings, &[("DATABASE_MIGRATION_URL", &url)]);
        let report = doctor(&settings).await;
        let found = finding(&report, MIGRATION);
        assert!(
            found.starts_with("FAULT") && found.contains(word),
            "{found}"
        );
    }
    // The pooler knows the runtime role alone.
    let runtime = &behind.pooled["DATABASE_URL"];
    let migrating = with(&settings, &[("DATABASE_MIGRATION_URL", runtime)]);
    let said = text(&run(&migrating, &["migrate"], "").await);
    assert!(said.contains("a pooler that shares sessions"), "{said}");
    server.stop().await;
}

/// Makes a server of the data of another one, which is stopped, and starts it as a standby.
async fn standby_of(primary: &Path, home: &Path) -> Postgres {
    let own = Postgres::keep(home, None).await.expect("it starts");
    let directory = own.directory().to_owned();
    own.stop().await;
    let copied = Command::new("sh")
        .args([
            "-ec",
            "rm -r \"$2/data\"; cp -a \"$1/data\" \"$1/passwords\" \"$2\"; touch \"$2/data/standby.signal\"",
            "sh",
        ])
        .args([primary, &directory])
        .status();
    assert!(copied.expect("the shell runs").success());
    Postgres::keep(home, None).await.expect("it starts")
}

#[tokio::test]
async fn f61_a_direct_url_that_leads_to_a_standby_is_refused() {
    let home = Scratch::new(None).expect("a scratch directory");
    let of_standby = Scratch::new(None).expect("a scratch directory");
    let primary = Postgres::keep(home.path(), None).await.expect("it starts");
    primary.ensure_database("app").await.expect("it is made");
    let inbox = Inbox::start().await;
    let migrating = |primary: &Postgres| {
        with(
            &settings(&primary.runtime_url("app"), &inbox.smtp_url()),
            &[("DATABASE_MIGRATION_URL", &primary.url("app"))],
        )
    };
    let migrated = run(&migrating(&primary), &["migrate"], "").await;
    assert!(migrated.status.success(), "{}", text(&migrated));
    let directory = primary.directory().to_owned();
    primary.stop().await;
    let standby = standby_of(&directory, of_standby.path()).await;
    let primary = Postgres::keep(home.path(), None).await.expect("it starts");

    let url = primary.runtime_url("app");
    let server = url.parse().expect("it is a URL");
    let options = Options::for_service(PoolMode::Transaction);
    let pooler = PgBouncer::start_with(&server, options).await;
    let pooler = pooler.expect("it starts");
    let settings = with(
        &settings(&pooled_url(&url, &pooler), &inbox.smtp_url()),
        &[("DATABASE_DIRECT_URL", &standby.runtime_url("app"))],
    );
    assert_refused(&settings, DIRECT, &["a standby", "name the primary"]).await;
    drop(pooler);
    standby.stop().await;
    primary.stop().await;
}

/// Asserts that requests succeed and that a statement which waits for a lock ends by `DB_LOCK_TIMEOUT`.
async fn assert_serves(service: &Service, owner: &mut PgConnection) {
    let access = service.sign_in("ada").await.access;
    let (caller, token) = (service.caller.clone(), access.clone());
    let load = Load::start(8, move |_, _| {
        let (caller, token) = (caller.clone(), token.clone());
        async move { caller.me(&token).await }
    });
    until("requests flow", async || load.so_far().len() > 200).await;
    let outcomes = load.stop().await;
    let failed = outcomes.iter().find(|outcome| !is_fine(outcome));
    assert!(failed.is_none(), "{failed:?}");
    sqlx::raw_sql("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *owner)
        .await
        .expect("it locks");
    let refused = service.me(&access).await;
    assert!(refused.is_shed(), "{refused:?}");
    assert!(refused.took < Duration::from_secs(12), "{refused:?}");
    sqlx::raw_sql("ROLLBACK")
        .execute(owner)
        .await
        .expect("it unlocks");
}

#[tokio::test]
async fn f61_a_pooler_by_the_session_serves_and_the_timeouts_are_in_force() {
    for program in [Program::OfSystem, Program::Following] {
        let options = Options {
            program,
            pool_size: 30,
            ..Options::for_service(PoolMode::Session)
        };
        let behind = Behind::a_pooler(options).await;
        let settings = with(&behind.pooled, &[("DB_STATEMENT_TIMEOUT", "1234ms")]);
        let report = doctor(&settings).await;
        assert!(finding(&report, FITNESS).starts_with("ok"), "{report}");
        let service = Service::start(&settings, &["serve"]).await;
        assert_serves(&service, &mut behind.world.owner().await).await;
    }
}

#[tokio::test]
async fn f61_a_pooler_by_the_transaction_serves_with_a_direct_url() {
    let behind = Behind::a_pooler(Options::for_service(PoolMode::Transaction)).await;
    // By notifications alone a job starts in time.
    let settings = behind.migrated(&[("WORKER_POLL_INTERVAL", "1h")]).await;
    let report = doctor(&settings).await;
    for check in [FITNESS, DIRECT] {
        assert!(finding(&report, check).starts_with("ok"), "{report}");
    }
    let service = Service::start(&settings, &["serve"]).await;
    let mut owner = behind.world.owner().await;
    let listeners = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    until("it listens", async || {
        count(&mut owner, listeners).await == 1
    })
    .await;
    assert!(is_fine(&service.register("grace@example.com").await));
    until("the email comes", async || {
        !behind.world.inbox.emails_to("grace@example.com").is_empty()
    })
    .await;
    assert_serves(&service, &mut owner).await;
}

#[tokio::test]
async fn f61_time_limits_that_differ_from_those_in_effect_are_reported() {
    let behind = Behind::a_pooler(Options::for_service(PoolMode::Transaction)).await;
    let direct = [("DATABASE_DIRECT_URL", behind.direct_url.as_str())];
    let report = doctor(&with(&behind.pooled, &direct)).await;
    let found = finding(&report, FITNESS);
    for word in [
        "statement_timeout is 0, not 30000",
        "DB_LOCK_TIMEOUT",
        "search_path is",
        "run `migrate`",
    ] {
        assert!(found.contains(word), "{word}: {found}");
    }
    // Sessions that are open keep the values from before.
    let mut behind = behind;
    let settings = behind.migrated(&[]).await;
    behind
        .pooler
        .restart(Duration::ZERO)
        .await
        .expect("it starts");
    let report = doctor(&settings).await;
    assert!(finding(&report, FITNESS).starts_with("ok"), "{report}");
    let other = with(&settings, &[("DB_STATEMENT_TIMEOUT", "7s")]);
    let report = doctor(&other).await;
    let found = finding(&report, FITNESS);
    assert!(
        found.contains("statement_timeout is 30000, not 7000 of DB_STATEMENT_TIMEOUT"),
        "{found}"
    );
}

/// A transaction of an account that reads whose it is, before, during and after.
async fn read_account(db: &database::Db, number: usize) {
    const ACCOUNT: &str = "SELECT current_setting('app.account', true)";
    let account = format!("00000000-0000-0000-0000-{number:012}");
    let begin = format!("BEGIN; SELECT set_config('app.account', '{account}', true)");
    let mut tx = database::begin_with(db, begin).await.expect("it begins");
    let seen: Option<String> = sqlx::query_scalar(ACCOUNT)
        .fetch_one(&mut *tx)
        .await
        .expect("it is read");
    assert_eq!(seen, Some(account));
    tx.commit().await.expect("it commits");
    let seen: Option<String> = sqlx::query_scalar(ACCOUNT)
        .fetch_one(db)
        .await
        .expect("it is read");
    assert_eq!(seen.unwrap_or_default(), "", "the account of another one");
}

#[tokio::test]
async fn f61_fifty_pools_need_no_more_sessions_than_the_pooler_has() {
    const POOLS: usize = 50;
    const SESSIONS: i64 = 5;
    let behind = Behind::a_pooler(Options {
        pool_size: 5,
        ..Options::for_service(PoolMode::Transaction)
    })
    .await;
    let more = [("DB_POOL_TIMEOUT", "50s"), ("DB_POOL_SIZE", "10")];
    let config = read_database(&behind.migrated(&more).await).expect("it is valid");
    let pools: Vec<_> = (0..POOLS)
        .map(|_| {
            let options = connection_options(&config);
            let clock = clock::Clock::system();
            database::connect_lazy(&config, &options, clock)
                .expect("it is a URL")
                .0
        })
        .collect();
    let working = join_all(pools.iter().enumerate().flat_map(|(at, db)| {
        (0..4).map(move |client| async move {
            for turn in 0..10 {
                read_account(db, at * 1000 + client * 10 + turn).await;
            }
        })
    }));
    let mut owner = behind.world.owner().await;
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND usename <> current_user";
    let counting = async {
        let mut most = 0;
        loop {
            most = count(&mut owner, sessions).await.max(most);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if most > SESSIONS {
                return most;
            }
        }
    };
    tokio::select! {
        most = counting => panic!("{most} sessions"),
        _ = working => {}
    }
    let clients: u32 = pools.iter().map(database::Db::size).sum();
    assert!(clients >= 100, "{clients} connections to the pooler");
    assert!(
        (1..=SESSIONS)
            .contains(&count(&mut connect(&behind.world.owner_url()).await, sessions).await)
    );
}
