//! Background tasks of replicas, without requests.

use std::collections::{BTreeMap, BTreeSet};
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

/// Replicas, and how many of them run jobs.
const SETS: [(u32, u32); 3] = [(1, 1), (50, 2), (50, 50)];

/// Bound for the statements of a replica in a second, without jobs.
const MOST: f64 = 6.0;

/// Statements a second that running jobs adds at most.
const MOST_OF_JOBS: f64 = 3.0;

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
    async fn start(
        config: &Config,
        runs_jobs: bool,
        accounts: &Arc<[Uuid]>,
        pause: Duration,
    ) -> Self {
        let state = AppState::new(config, Clock::database(), Rng::system());
        let state = state.expect("the state is built");
        state.heartbeat.synchronize().await;
        let tasks = tasks::start(Process::Serve, runs_jobs, &state, config).await;
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

/// Statements in a second by kind.
struct Measured {
    by_kind: BTreeMap<&'static str, Rate>,
    /// Bytes of write-ahead log in a second.
    wal: f64,
    connections: i64,
}

impl Measured {
    fn calls(&self) -> f64 {
        self.by_kind.values().map(|it| it.calls).sum()
    }
}

/// Runs replicas, of which the first ones run jobs, and counts their statements once they have settled.
async fn measure(world: &World, count: u32, with_jobs: u32) -> Measured {
    let config = Config::read(&world.settings).expect("the settings are valid");
    let accounts: Arc<[Uuid]> = world.accounts(ACCOUNTS).await.into();
    let pause = Duration::from_secs(1) * count / REQUESTS;
    let mut statistics = world.statistics().await;
    let mut replicas = Vec::new();
    for number in 1..=count {
        let replica = Replica::start(&config, number <= with_jobs, &accounts, pause);
        replicas.push(replica.await);
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
    let measured = Measured {
        by_kind,
        wal: (wal_position(&mut statistics).await - wal) / seconds,
        connections: connections(&mut statistics).await,
    };
    show(&format!(
        "{count} replicas, {with_jobs} with jobs: {:.0} statements a second, {:.0} bytes of write-ahead log, {} connections",
        measured.calls(),
        measured.wal,
        measured.connections
    ));
    for (query, rate) in others {
        show(&format!("of no kind: {:.2} a second: {query}", rate.calls));
    }
    join_all(replicas.into_iter().map(Replica::stop)).await;
    measured
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_fifty_replicas_are_few() {
    let world = World::new().await;
    show(&format!(
        "{USERS} users, {REQUESTS} metered requests a second in all"
    ));
    let mut all = Vec::new();
    for (count, with_jobs) in SETS {
        all.push(measure(&world, count, with_jobs).await);
    }
    let columns = SETS
        .map(|(count, with_jobs)| format!("{count}, {with_jobs} with jobs | rows | ms | WAL B"));
    show(&format!("| in a second | {} |", columns.join(" | ")));
    show(&format!("| --- |{}", " --: |".repeat(4 * SETS.len())));
    let kinds: BTreeSet<_> = all.iter().flat_map(|it| it.by_kind.keys()).collect();
    for kind in kinds {
        let rates = all.iter().map(|it| it.by_kind.get(kind).copied());
        let rates = rates.map(|it| {
            let Rate {
                calls,
                rows,
                millis,
                wal,
            } = it.unwrap_or_default();
            format!("{calls:.1} | {rows:.0} | {millis:.1} | {wal:.0}")
        });
        let rates: Vec<_> = rates.collect();
        show(&format!("| {kind} | {} |", rates.join(" | ")));
    }
    for ((count, with_jobs), measured) in SETS.into_iter().zip(&all) {
        let most = MOST * f64::from(count) + MOST_OF_JOBS * f64::from(with_jobs);
        let calls = measured.calls();
        assert!(calls < most, "{count} replicas send {calls} a second");
        // Each sends at least a heartbeat, so that all of them ran.
        assert!(
            calls > f64::from(count),
            "{count} replicas send {calls} a second"
        );
    }
}

#[expect(clippy::print_stdout, reason = "the figures of the page")]
fn show(line: &str) {
    println!("{line}");
}
