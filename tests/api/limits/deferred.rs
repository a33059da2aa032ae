//! Limits that are counted in the process first and in Redis later: never fewer than N in a window, and never more than a
//! tenth above it over four replicas.

use std::time::{Duration, Instant};

use clock::Clock;
use crypto::Key32;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use groundwork_dev::Redis as Server;
use rate_limit::{Limit, LimitCheck, Limiter, Rate};
use redis_client::Redis;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::engine::{TIMEOUT, client, connect};
use crate::kit::wait::until;

/// Time by which a use may be recorded too late: it is sent 100 ms later, on a machine that is busy.
const LATE: Duration = Duration::from_millis(600);

struct Replicas {
    limiters: Vec<Limiter>,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Replicas {
    async fn start(server: &Server, count: usize) -> Self {
        let mut it = Self {
            limiters: Vec::new(),
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        };
        for _ in 0..count {
            it.add(server);
        }
        it.until_all_defer().await;
        it
    }

    fn add(&mut self, server: &Server) {
        let limiter = exact_limiter(server);
        let id = format!("replica-{}", self.limiters.len());
        let task = limiter.clone().count_deferred(id, self.stop.clone());
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(task)));
        self.limiters.push(limiter);
    }

    async fn until_all_defer(&self) {
        until("all replicas defer", async || {
            self.limiters.iter().all(Limiter::is_deferring)
        })
        .await;
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("it ends");
        }
    }
}

/// A limiter that defers nothing.
fn exact_limiter(server: &Server) -> Limiter {
    let redis = Redis::connect_lazy(&server.url().into(), TIMEOUT).expect("it is a URL");
    Limiter::new(Some(redis), Clock::system(), &[Key32::new([7; 32])])
}

/// A deferred limit.
fn limit(max: u32, window: Duration) -> Limit {
    Limit::new("anonymous", Rate::new(max, window)).deferred()
}

/// Number of script calls so far.
async fn calls(connection: &mut redis::aio::MultiplexedConnection) -> u64 {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(connection)
        .await
        .expect("it has statistics");
    let line = stats
        .lines()
        .find(|it| it.starts_with("cmdstat_evalsha:"))
        .unwrap_or_default();
    let calls = line
        .split_once("calls=")
        .and_then(|(_, rest)| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("it is a number"))
}

#[tokio::test]
async fn callers_far_below_their_limits_cost_a_tenth_of_the_calls() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 1).await;
    let limiter = &replicas.limiters[0];
    let (deferred, exact) = (
        limit(1_000, Duration::from_mins(1)),
        Limit::per_minute("free", 1_000),
    );
    let mut connection = connect(&server).await;
    let mut count = async |limit: Limit| {
        let before = calls(&mut connection).await;
        for turn in 0..200_u8 {
            let key = client(turn % 20);
            let decision = limiter.check(&[LimitCheck::spend(limit, key)]).await;
            assert!(decision.allows());
            assert_eq!(decision.states[0].used, u32::from(turn / 20) + 1);
        }
        let made = calls(&mut connection).await - before;
        let other = exact_limiter(&server);
        until("all are counted", async || {
            let mut are_counted = true;
            for number in 0..20 {
                let check = LimitCheck::peek(limit, client(number));
                are_counted &= other.check(&[check]).await.states[0].used == 10;
            }
            are_counted
        })
        .await;
        made
    };
    let (few, many) = (count(deferred).await, count(exact).await);
    assert!(many >= 200, "{many}");
    // One each 100 ms on a machine that is busy.
    assert!(few * 10 <= many, "{few} of {many}");
    replicas.end().await;
}

#[tokio::test]
async fn a_burst_at_once_over_four_replicas_gets_the_limit_and_at_most_a_tenth_more() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 4).await;
    for (number, max) in [40, 100, 1_000, 3_000].into_iter().enumerate() {
        let limit = limit(max, Duration::from_hours(1));
        let check = LimitCheck::spend(limit, client(u8::try_from(number).expect("it is small")));
        let burst = (0..2 * max as usize).map(|turn| {
            let limiter = replicas.limiters[turn % 4].clone();
            tokio::spawn(async move { limiter.check(&[check]).await.allows() })
        });
        let allowed = join_all(burst).await;
        let allowed = allowed
            .into_iter()
            .filter(|it| *it.as_ref().expect("no panic"));
        let allowed = u32::try_from(allowed.count()).expect("it is small");
        assert!(
            (max..=max + max / 10).contains(&allowed),
            "{allowed} of {max}"
        );
        for limiter in &replicas.limiters {
            let after = limiter.check(&[check]).await;
            assert!(!after.allows());
            assert_eq!(after.states[0].used, max);
        }
    }
    replicas.end().await;
}

/// Without a reply, a process has not learned how much is used.
#[tokio::test]
async fn requests_that_are_dropped_make_no_room_for_more() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 4).await;
    let check = LimitCheck::spend(limit(400, Duration::from_hours(1)), client(1));
    let mut allowed = 0;
    for _ in 0..100 {
        for limiter in &replicas.limiters {
            for _ in 0..10 {
                // As hyper does when the client is gone: polled once.
                let decided = limiter.check(std::slice::from_ref(&check)).now_or_never();
                allowed += u32::from(decided.is_some_and(|it| it.allows()));
            }
        }
    }
    assert!(allowed <= 40, "{allowed}");
    replicas.end().await;
}

#[tokio::test]
async fn one_replica_counts_exactly() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 1).await;
    let check = LimitCheck::spend(limit(200, Duration::from_hours(1)), client(1));
    for turn in 1..=200 {
        let decision = replicas.limiters[0].check(&[check]).await;
        assert!(decision.allows(), "{turn}");
        assert_eq!(decision.states[0].used, turn);
    }
    assert!(!replicas.limiters[0].check(&[check]).await.allows());
    replicas.end().await;
}

/// By the real clock, since uses are deferred in real time.
#[tokio::test]
async fn a_steady_client_of_four_replicas_is_never_refused_below_its_limit() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 4).await;
    let limit = limit(80, Duration::from_secs(2));
    let check = LimitCheck::spend(limit, client(1));
    let began = Instant::now();
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    let mut turn = 0_usize;
    while began.elapsed() < Duration::from_secs(7) {
        let at = began.elapsed();
        let limiter = &replicas.limiters[turn % 4];
        turn += 1;
        if limiter.check(&[check]).await.allows() {
            allowed.push((at, began.elapsed()));
        } else {
            refused.push(at);
        }
        // Half of the time slower than its limit, and half of the time three times as fast.
        let slow = began.elapsed().as_secs() % 4 < 2;
        tokio::time::sleep(Duration::from_millis(if slow { 30 } else { 8 })).await;
    }
    // More than three windows allow, unless the machine was too busy to make so many.
    assert!(!refused.is_empty() || turn < 400, "of {turn}");
    for group in allowed.windows(89) {
        // From the end of the first to the beginning of the last: each may have been counted in between.
        let span = group[88].0.saturating_sub(group[0].1);
        assert!(span + LATE >= limit.window(), "89 within {span:?}");
    }
    for at in refused {
        let recent = |use_at: Duration| use_at <= at && use_at + limit.window() + LATE > at;
        let before = allowed.iter().filter(|(_, end)| recent(*end)).count();
        assert!(before >= 80, "refused at {at:?} after {before}");
    }
    replicas.end().await;
}

#[tokio::test]
async fn a_replica_that_joins_defers_once_the_others_know_of_it() {
    let server = Server::throw_away().await.expect("it starts");
    let mut replicas = Replicas::start(&server, 1).await;
    let check = LimitCheck::spend(limit(400, Duration::from_hours(1)), client(1));
    let began = Instant::now();
    replicas.add(&server);
    assert!(!replicas.limiters[1].is_deferring());
    replicas.until_all_defer().await;
    assert!(began.elapsed() >= Duration::from_secs(3));
    let mut connection = connect(&server).await;
    replicas.limiters[0].check(&[check]).await;
    let registered = async |connection: &mut redis::aio::MultiplexedConnection| -> u32 {
        let command = redis::cmd("ZCARD").arg("limit:replicas").to_owned();
        command
            .query_async(connection)
            .await
            .expect("it is counted")
    };
    assert_eq!(registered(&mut connection).await, 2);
    replicas.end().await;
    assert_eq!(registered(&mut connection).await, 0);
    // What was pending is counted.
    let other = exact_limiter(&server);
    assert_eq!(other.check(&[check]).await.states[0].used, 2);
}

#[tokio::test]
async fn without_redis_each_use_counts_in_the_process() {
    let server = Server::throw_away().await.expect("it starts");
    let replicas = Replicas::start(&server, 1).await;
    let limiter = &replicas.limiters[0];
    let check = LimitCheck::spend(limit(100, Duration::from_hours(1)), client(1));
    for _ in 0..5 {
        assert!(limiter.check(&[check]).await.allows());
    }
    server.stop().await;
    for turn in 5..100 {
        assert!(limiter.check(&[check]).await.allows(), "{turn}");
    }
    assert!(!limiter.check(&[check]).await.allows());
    assert!(!limiter.is_deferring());
    replicas.end().await;
}
