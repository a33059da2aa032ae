//! What replicas run by themselves, without requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use background_tasks::Tasks;
use clock::{Clock, Month, Rng};
use futures_util::future::join_all;
use groundwork::config::Config;
use groundwork::state::AppState;
use groundwork::tasks::{self, Process};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use usage_meter::{MeterKey, minute_of};
use uuid::Uuid;

use crate::harness::until;
use crate::statements::{self, Rate, connections, wal_position};
use crate::world::{USERS, World};

/// Requests of all replicas together in a second, which are metered and not sent.
const REQUESTS: u32 = 500;

/// Accounts that send them.
const ACCOUNTS: i32 = 20_000;

const MANY: u32 = 50;

/// Bound for the statements of one replica in a second.
const MOST: f64 = 40.0;

/// Connections of one replica: those of the pool, and the heartbeat's.
const OWN_CONNECTIONS: u32 = 9;

/// For what happens at a start.
const SETTLING: Duration = Duration::from_secs(10);

fn length() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let seconds = std::env::var("TEST_LENGTH");
    let seconds = seconds.ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// A replica in this process: all that one runs but its listener.
struct Replica {
    state: AppState,
    tasks: Tasks,
    requests: CancellationToken,
}

impl Replica {
    async fn start(config: &Config, accounts: &Arc<[Uuid]>, pause: Duration) -> Self {
        let state = AppState::new(config, Clock::database(), Rng::system());
        let state = state.expect("the state is built");
        state.heartbeat.synchronize().await;
        let tasks = tasks::start(Process::Serve, true, &state, config).await;
        let tasks = tasks.expect("the tasks start");
        let requests = CancellationToken::new();
        let metered = meter(state.clone(), Arc::clone(accounts), pause);
        tokio::spawn(requests.clone().run_until_cancelled_owned(metered));
        Self {
            state,
            tasks,
            requests,
        }
    }

    async fn stop(self) {
        self.requests.cancel();
        self.tasks.stop();
        self.tasks.finish().await;
        self.state.db.close().await;
    }
}

/// Counts requests of accounts in random order, one in each pause.
async fn meter(state: AppState, accounts: Arc<[Uuid]>, pause: Duration) {
    let endpoint = state.meter.endpoint("GET /api/v1/users/me");
    let rng = Rng::system();
    let mut ticks = interval(pause);
    loop {
        ticks.tick().await;
        let chosen = usize::from(u16::from_le_bytes(rng.bytes())) % accounts.len();
        let now = state.clock.now();
        let key = MeterKey {
            account: accounts[chosen],
            endpoint,
            status: 200,
            minute: minute_of(now),
        };
        let period = Some(Month::of(now).number());
        state.meter.record(key, Duration::from_millis(2), period);
    }
}

/// Statements in a second by kind, and bytes of write-ahead log.
struct Measured {
    by_kind: BTreeMap<&'static str, Rate>,
    wal: f64,
    connections: i64,
}

/// Runs as many replicas, and counts their statements once they have settled.
async fn measure(world: &World, count: u32) -> Measured {
    let config = Config::read(&world.settings).expect("the settings are valid");
    let accounts: Arc<[Uuid]> = world.accounts(ACCOUNTS).await.into();
    let pause = Duration::from_secs(1) * count / REQUESTS;
    let mut statistics = world.statistics().await;
    let mut replicas = Vec::new();
    for number in 1..=count {
        replicas.push(Replica::start(&config, &accounts, pause).await);
        // One after the other: a handshake costs a build without optimizations much.
        let expected = i64::from(number * OWN_CONNECTIONS);
        until("its connections are open", async || {
            connections(&mut statistics).await >= expected
        })
        .await;
    }
    sleep(SETTLING).await;
    statements::reset(&mut statistics).await;
    let (began, wal) = (Instant::now(), wal_position(&mut statistics).await);
    sleep(length()).await;
    let seconds = began.elapsed().as_secs_f64();
    let (by_kind, others) = statements::rates(&mut statistics, seconds).await;
    let wal = (wal_position(&mut statistics).await - wal) / seconds;
    let open = connections(&mut statistics).await;
    for (query, rate) in others {
        show(&format!(
            "{count} replicas, of no kind: {:.2}/s, {query}",
            rate.calls
        ));
    }
    join_all(replicas.into_iter().map(Replica::stop)).await;
    Measured {
        by_kind,
        wal,
        connections: open,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_fifty_replicas_are_few() {
    let world = World::new().await;
    show(&format!(
        "{USERS} users, {REQUESTS} metered requests a second in all"
    ));
    let one = measure(&world, 1).await;
    let many = measure(&world, MANY).await;
    show(
        "| statements | 1: calls/s | rows/s | ms/s | WAL B/s | 50: calls/s | rows/s | ms/s | WAL B/s | of each replica |",
    );
    show("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    let mut of_each = 0.0;
    for (kind, rate) in &many.by_kind {
        let alone = one.by_kind.get(kind).copied().unwrap_or_default();
        let each = rate.calls / f64::from(MANY);
        of_each += each;
        show(&format!(
            "| {kind} | {} | {} | {each:.2} |",
            figures(alone),
            figures(*rate)
        ));
    }
    for (count, measured) in [(1, &one), (MANY, &many)] {
        let calls: f64 = measured.by_kind.values().map(|it| it.calls).sum();
        show(&format!(
            "{count}: {calls:.0} statements/s, {:.0} bytes of WAL/s in all, {} connections",
            measured.wal, measured.connections
        ));
    }
    assert!(
        of_each < MOST,
        "{of_each} statements a second of each replica"
    );
}

fn figures(rate: Rate) -> String {
    let Rate {
        calls,
        rows,
        millis,
        wal,
    } = rate;
    format!("{calls:.1} | {rows:.1} | {millis:.1} | {wal:.0}")
}

#[expect(clippy::print_stdout, reason = "the figures of the page")]
fn show(line: &str) {
    println!("{line}");
}
