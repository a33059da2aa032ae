//! The counting itself, against Redis and without: never fewer than N in a window, never more.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clock::{Clock, Rng};
use crypto::Key32;
use groundwork_dev::{Fault, Proxy, Redis as Server};
use rate_limit::{Key, Limit, LimitCheck, LimitState, Limiter};
use redis_client::Redis;

use crate::harness::{config, settings};

/// Longer than any hiccup of a busy machine: these tests are about counts, not about haste.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn start() -> DateTime<Utc> {
    "2026-03-14T09:26:53Z".parse().expect("it is a time")
}

/// The anonymous limit, set to this.
pub(super) fn limit(rate: &str) -> Limit {
    let settings = settings("any", "smtp://127.0.0.1:1", &[("LIMIT_ANONYMOUS", rate)]);
    config(&settings).limits.anonymous
}

fn limiter(server: Option<&Server>, clock: &Clock) -> Limiter {
    let redis = server.map(|server| {
        let url = server.url().into();
        Redis::connect_lazy(&url, TIMEOUT).expect("it is a URL")
    });
    Limiter::new(redis, clock.clone(), &[Key32::new([7; 32])])
}

/// A connection of the test's own.
pub(super) async fn connect(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("it is a URL");
    let connection = client.get_multiplexed_async_connection().await;
    connection.expect("it answers")
}

pub(super) fn client(number: u8) -> Key {
    Key::client([203, 0, 113, number].into())
}

/// What became of each request, by when it came.
#[derive(Default)]
pub(super) struct Trace(Vec<(Duration, bool)>);

impl Trace {
    /// Holds that no window has more than `max`, and that nobody was refused with fewer.
    #[track_caller]
    pub(super) fn assert_exact(&self, limit: Limit) {
        let max = limit.max() as usize;
        let allowed: Vec<_> = self.0.iter().filter(|(_, allowed)| *allowed).collect();
        for pair in allowed.windows(max + 1) {
            let span = pair[max].0.saturating_sub(pair[0].0);
            assert!(span >= limit.window(), "{max} + 1 within {span:?}");
        }
        for (refused_at, _) in self.0.iter().filter(|(_, allowed)| !*allowed) {
            let counts = |(at, _): &&&(Duration, bool)| {
                at <= refused_at && *at + limit.window() > *refused_at
            };
            let before = allowed.iter().filter(counts).count();
            assert_eq!(before, max, "refused at {refused_at:?}");
        }
    }

    fn count(&self) -> usize {
        self.0.iter().filter(|(_, allowed)| *allowed).count()
    }
}

/// Requests of a steady, a bursty and an erratic client, on a clock that is moved, through as many
/// limiters in turn.
pub(super) async fn play(
    limiters: &[Limiter],
    clock: &Clock,
    limit: Limit,
    length: Duration,
) -> [Trace; 3] {
    let mut traces = [Trace::default(), Trace::default(), Trace::default()];
    let (begun, window, max) = (clock.now(), limit.window(), limit.max());
    let (rng, mut turn) = (Rng::system(), 0_usize);
    let mut next = [Duration::ZERO; 3];
    loop {
        let who = (0..3).min_by_key(|who| next[*who]).unwrap_or_default();
        let at = next[who];
        if at >= length {
            return traces;
        }
        let now = (clock.now() - begun).to_std().unwrap_or_default();
        clock.advance(at.saturating_sub(now));
        // The burst is spent at once, so that it leaves the window at once as well.
        let times = if who == 1 { max + 2 } else { 1 };
        for _ in 0..times {
            let limiter = &limiters[turn % limiters.len()];
            turn += 1;
            let key = client(u8::try_from(who).unwrap_or_default());
            let decision = limiter.check(&[LimitCheck::spend(limit, key)]).await;
            if let Some(wait) = decision.retry_after() {
                assert!(wait > Duration::ZERO && wait <= window, "{wait:?}");
            }
            traces[who].0.push((at, decision.allows()));
        }
        let [byte, more] = rng.bytes::<2>();
        next[who] += match who {
            // Some faster than is allowed.
            0 => window * 9 / (max * 10),
            // To the very edge of the window, and just before it.
            1 if byte % 2 == 0 => window,
            1 => window.saturating_sub(Duration::from_micros(1)),
            _ => window * u32::from(byte) * u32::from(more) / (max * 128 * 128),
        };
        // The clock has whole microseconds, and the trace must have the same times.
        let micros = u64::try_from(next[who].as_micros()).unwrap_or(u64::MAX);
        next[who] = Duration::from_micros(micros);
    }
}

#[tokio::test]
async fn concurrent_checks_are_few_calls_and_each_gets_its_own_count() {
    let server = Server::throw_away().await.expect("it starts");
    let (limit, other) = (limit("10/1m"), limit("1000/1m"));
    let limiter = limiter(Some(&server), &Clock::fixed(start()));
    let calls = (0..40_u8).map(|turn| {
        let limiter = limiter.clone();
        // By turns the one client that asks too much, and one that nobody else is.
        let check = if turn % 2 == 0 {
            LimitCheck::spend(limit, client(0))
        } else {
            LimitCheck::spend(other, client(turn))
        };
        async move { limiter.check_resettable(&[check]).await }
    });
    let decisions = futures_util::future::join_all(calls).await;
    let (greedy, alone): (Vec<_>, Vec<_>) = decisions
        .iter()
        .partition(|decision| decision.states[0].limit == limit);
    let allowed = greedy.iter().filter(|decision| decision.allows());
    let mut places: Vec<_> = allowed.map(|decision| decision.states[0].used).collect();
    places.sort_unstable();
    assert_eq!(places, (1..=10).collect::<Vec<_>>());
    let refused: Vec<_> = greedy.iter().filter(|one| !one.allows()).collect();
    assert_eq!(refused.len(), 10);
    for decision in refused {
        assert_eq!(decision.retry_after(), Some(limit.window()));
        assert_eq!(decision.states[0].left(), 0);
    }
    for decision in alone {
        assert!(decision.allows());
        assert_eq!(decision.states[0].used, 1);
    }
    let mut connection = connect(&server).await;
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .expect("it answers");
    let line = statistics.lines().find(|line| line.contains("_eval"));
    let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok());
    let calls: u32 = calls.expect("the script ran");
    assert!(calls < 10, "{calls} calls for 40 requests");
}

#[tokio::test]
async fn no_window_has_more_and_nobody_is_refused_with_fewer() {
    let server = Server::throw_away().await.expect("it starts");
    let limit = limit("20/1m");
    for replicas in [0, 1, 2, 4] {
        let clock = Clock::fixed(start() + chrono::TimeDelta::days(replicas));
        let shared = (replicas > 0).then_some(&server);
        let count = replicas.max(1);
        let limiters: Vec<_> = (0..count).map(|_| limiter(shared, &clock)).collect();
        let length = Duration::from_mins(40);
        for trace in play(&limiters, &clock, limit, length).await {
            trace.assert_exact(limit);
            assert!(trace.count() > 300, "{} in 40 minutes", trace.count());
        }
    }
}

#[tokio::test]
async fn two_days_are_as_exact_as_two_minutes() {
    let server = Server::throw_away().await.expect("it starts");
    let limit = limit("5/15m");
    for shared in [None, Some(&server)] {
        let clock = Clock::fixed(start());
        let limiters = [limiter(shared, &clock), limiter(shared, &clock)];
        let limiters = &limiters[..if shared.is_some() { 2 } else { 1 }];
        let length = Duration::from_hours(48);
        for trace in play(limiters, &clock, limit, length).await {
            trace.assert_exact(limit);
            assert!(trace.count() >= 450, "{} in two days", trace.count());
        }
    }
}

#[tokio::test]
async fn four_replicas_at_once_let_exactly_as_many_through() {
    let server = Server::throw_away().await.expect("it starts");
    let clock = Clock::fixed(start());
    let limit = limit("50/1m");
    let replicas: Vec<_> = (0..4).map(|_| limiter(Some(&server), &clock)).collect();
    for round in 0..5_u8 {
        let checks = (0..200).map(|number| {
            let limiter = replicas[number % 4].clone();
            tokio::spawn(async move {
                let check = LimitCheck::spend(limit, client(round));
                limiter.check(&[check]).await.allows()
            })
        });
        let mut allowed = 0;
        for check in checks.collect::<Vec<_>>() {
            allowed += u32::from(check.await.expect("it does not panic"));
        }
        assert_eq!(allowed, 50);
    }
}

#[tokio::test]
async fn of_several_limits_all_are_spent_or_none() {
    let server = Server::throw_away().await.expect("it starts");
    for shared in [None, Some(&server)] {
        let clock = Clock::fixed(start());
        let limiter = limiter(shared, &clock);
        let (wide, narrow) = (
            Limit::per_minute("wide", 10),
            Limit::per_minute("narrow", 2),
        );
        let checks = [
            LimitCheck::spend(wide, client(1)),
            LimitCheck::spend(narrow, client(1)),
        ];
        for left in [1, 0] {
            let decision = limiter.check_resettable(&checks).await;
            assert!(decision.allows());
            assert_eq!(decision.tightest().map(LimitState::left), Some(left));
        }
        for _ in 0..20 {
            let refused = limiter.check_resettable(&checks).await;
            assert_eq!(refused.tightest().map(|one| one.limit), Some(narrow));
            assert_eq!(refused.retry_after(), Some(narrow.window()));
        }
        let wide_alone = limiter
            .check_resettable(&[LimitCheck::peek(wide, client(1))])
            .await;
        assert_eq!(wide_alone.states[0].used, 2);
    }
}

#[tokio::test]
async fn failures_are_looked_at_counted_and_forgotten() {
    let server = Server::throw_away().await.expect("it starts");
    for shared in [None, Some(&server)] {
        let clock = Clock::fixed(start());
        let limiter = limiter(shared, &clock);
        let limit = limit("5/15m");
        let account = limiter.hashed_key("ada@example.com");
        for used in 1..=7 {
            assert_eq!(
                limiter
                    .check_resettable(&[LimitCheck::peek(limit, account)])
                    .await
                    .allows(),
                used <= 5
            );
            let counted = limiter.record(&[LimitCheck::spend(limit, account)]).await;
            assert_eq!(counted.states[0].used, used.min(5));
            clock.advance(Duration::from_secs(1));
        }
        // What came after the fifth moved the window on.
        let refused = limiter
            .check_resettable(&[LimitCheck::peek(limit, account)])
            .await;
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(895)));
        limiter.reset(&[(limit, account)]).await;
        let anew = limiter
            .check_resettable(&[LimitCheck::peek(limit, account)])
            .await;
        assert!(anew.allows() && anew.states[0].used == 0);
    }
}

#[tokio::test]
async fn waiting_for_retry_after_is_enough_by_the_real_clock_too() {
    let server = Server::throw_away().await.expect("it starts");
    let limit = limit("3/1s");
    for shared in [None, Some(&server)] {
        let limiter = limiter(shared, &Clock::system());
        let check = [LimitCheck::spend(limit, client(1))];
        for round in 0..3 {
            let begun = Instant::now();
            while limiter.check(&check).await.allows() {
                // On a busy machine the first may have left the window before the fourth comes.
                assert!(begun.elapsed() < Duration::from_mins(1), "one is refused");
            }
            let wait = limiter.check(&check).await.retry_after();
            tokio::time::sleep(wait.unwrap_or_default()).await;
            assert!(limiter.check(&check).await.allows(), "round {round}");
            tokio::time::sleep(limit.window()).await;
        }
    }
}

#[tokio::test]
async fn keys_in_redis_expire_and_name_nobody() {
    let server = Server::throw_away().await.expect("it starts");
    let limiter = limiter(Some(&server), &Clock::system());
    let limit = limit("3/1h");
    let ada = limiter.hashed_key("ada@example.com");
    limiter
        .check_resettable(&[
            LimitCheck::spend(limit, ada),
            LimitCheck::spend(limit, client(9)),
        ])
        .await;
    limiter.record(&[LimitCheck::spend(limit, client(8))]).await;
    let mut connection = connect(&server).await;
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .expect("it lists");
    keys.sort();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(keys[0], "limit:anonymous:client:203.0.113.8");
    assert!(keys.iter().all(|key| !key.contains("ada")), "{keys:?}");
    for key in keys {
        let left: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .expect("it tells");
        assert!((3_500_000..=3_600_000).contains(&left), "{key}: {left} ms");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_locks_nobody_out_for_long() {
    let server = Server::throw_away().await.expect("it starts");
    let limit = limit("3/1m");
    let ahead = Clock::fixed(start() + chrono::TimeDelta::minutes(10));
    let fast = limiter(Some(&server), &ahead);
    let clock = Clock::fixed(start());
    let right = limiter(Some(&server), &clock);
    for _ in 0..3 {
        assert!(
            fast.check_resettable(&[LimitCheck::spend(limit, client(1))])
                .await
                .allows()
        );
    }
    // What was counted ten minutes from now is not to be believed.
    for allowed in [true, true, true, false] {
        let decision = right
            .check_resettable(&[LimitCheck::spend(limit, client(1))])
            .await;
        assert_eq!(decision.allows(), allowed);
    }
}

#[tokio::test]
async fn memory_is_flat_under_a_new_address_with_each_request() {
    let clock = Clock::fixed(start());
    let limiter = limiter(None, &clock);
    let limit = Limit::per_minute("flood", 100);
    let mut most = 0;
    // Ten minutes of 500 a second, each from an address of its own.
    for number in 0..300_000_u32 {
        let key = Key::client((0x0a00_0000 + number).to_be_bytes().into());
        assert!(
            limiter
                .check(&[LimitCheck::spend(limit, key)])
                .await
                .allows()
        );
        if number % 500 == 0 {
            clock.advance(Duration::from_secs(1));
            most = most.max(limiter.local_keys());
        }
    }
    assert!(most <= 30_000 * 2 + 10_000, "{most} at most");

    // All at once: the cap holds, and what another limit counted is still known.
    let failures = Limit::per_minute("failures", 5);
    let victim = limiter.hashed_key("ada@example.com");
    for _ in 0..5 {
        limiter.record(&[LimitCheck::spend(failures, victim)]).await;
    }
    for number in 0..250_000_u32 {
        let key = Key::client((0x1400_0000 + number).to_be_bytes().into());
        assert!(
            limiter
                .check(&[LimitCheck::spend(limit, key)])
                .await
                .allows()
        );
    }
    assert!(limiter.local_keys() <= 200_010, "{}", limiter.local_keys());
    assert!(
        !limiter
            .check_resettable(&[LimitCheck::peek(failures, victim)])
            .await
            .allows()
    );
}

/// Whether a limiter counts where the others see it.
async fn counts_with(others: &Limiter, limiter: &Limiter, number: u8) -> bool {
    let limit = Limit::per_minute("seen", 1_000);
    limiter
        .check_resettable(&[LimitCheck::spend(limit, client(number))])
        .await;
    let seen = others
        .check_resettable(&[LimitCheck::peek(limit, client(number))])
        .await;
    seen.states[0].used > 0
}

#[tokio::test]
async fn an_unresponsive_redis_delays_a_few_requests_and_the_limits_hold() {
    let server = Server::throw_away().await.expect("it starts");
    let port = server
        .url()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let proxy = Proxy::start(port.expect("it has a port"))
        .await
        .expect("it starts");
    // Long beside what a busy machine adds to a check.
    let deadline = Duration::from_millis(400);
    let limit = Limit::per_minute("held", 20);
    let others = limiter(Some(&server), &Clock::system());
    for (number, fault) in (1_u8..).zip([
        Fault::Refuse,
        Fault::Freeze,
        Fault::Blackhole,
        Fault::Delay(Duration::from_secs(2)),
        Fault::Trickle(Duration::from_millis(200)),
    ]) {
        proxy.set(Fault::None);
        let url = proxy.through(&server.url()).into();
        let redis = Redis::connect_lazy(&url, deadline).expect("it is a URL");
        redis.warm_up().await;
        let limiter = Limiter::new(Some(redis), Clock::system(), &[Key32::new([7; 32])]);
        assert!(counts_with(&others, &limiter, number).await, "{fault:?}");
        let check = [LimitCheck::spend(limit, client(number))];
        for _ in 0..5 {
            assert!(limiter.check_resettable(&check).await.allows());
        }
        proxy.set(fault);
        let (mut allowed, mut took) = (0, Vec::new());
        for _ in 0..200 {
            let begun = Instant::now();
            allowed += u32::from(limiter.check_resettable(&check).await.allows());
            took.push(begun.elapsed());
        }
        assert_eq!(allowed, 15, "{fault:?}: five were spent before");
        let slow = took.iter().filter(|took| **took > deadline / 2).count();
        assert!(slow <= 4, "{fault:?}: {slow} wait for it");
        took.sort();
        assert!(took[100] < deadline / 100, "{fault:?}: {took:?}");
        assert!(took[199] < 10 * deadline, "{fault:?}: {took:?}");

        proxy.set(Fault::None);
        let begun = Instant::now();
        while !counts_with(&others, &limiter, number + 100).await {
            assert!(begun.elapsed() < Duration::from_mins(1), "{fault:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_redis_that_refuses_or_forgets_does_not_end_the_limits() {
    let server = Server::throw_away().await.expect("it starts");
    let client_of_redis = redis::Client::open(server.url()).expect("it is a URL");
    let mut direct = client_of_redis
        .get_multiplexed_async_connection()
        .await
        .expect("it answers");
    let limiter = limiter(Some(&server), &Clock::system());
    let limit = Limit::per_minute("held", 10);
    for (number, refusal, cure) in [
        (1, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        (2, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ] {
        let check = [LimitCheck::spend(limit, client(number))];
        for _ in 0..4 {
            assert!(limiter.check_resettable(&check).await.allows());
        }
        for (command, left) in [(refusal, 6), (cure, 0)] {
            let mut words = command.split(' ');
            let mut reported = redis::cmd(words.next().unwrap_or_default());
            reported.arg(words.collect::<Vec<_>>());
            reported.exec_async(&mut direct).await.expect("it obeys");
            let mut allowed = 0;
            for _ in 0..20 {
                allowed += u32::from(limiter.check(&check).await.allows());
            }
            assert_eq!(allowed, left, "{command}");
        }
    }
    // What has been emptied begins anew elsewhere; whoever spent it all here is known here.
    let check = [LimitCheck::spend(limit, client(3))];
    while limiter.check(&check).await.allows() {}
    redis::cmd("FLUSHALL")
        .exec_async(&mut direct)
        .await
        .expect("it obeys");
    assert!(!limiter.check(&check).await.allows());
    // The script was forgotten too, and is told again.
    let other = [LimitCheck::spend(limit, client(4))];
    assert!(limiter.check_resettable(&other).await.allows());
}

#[tokio::test]
async fn a_hashed_key_is_counted_through_every_step_of_a_change_of_the_secret() {
    let server = Server::throw_away().await.expect("it starts");
    let limit = limit("5/1h");
    for shared in [Some(&server), None] {
        let clock = Clock::fixed(start());
        let ring = |bytes: &[u8]| {
            let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
            let redis = shared.map(|server| {
                Redis::connect_lazy(&server.url().into(), TIMEOUT).expect("it is a URL")
            });
            Limiter::new(redis, clock.clone(), &keys)
        };
        let used = async |limiter: &Limiter, text: &str| {
            let check = LimitCheck::peek(limit, limiter.hashed_key(text));
            limiter.check_resettable(&[check]).await.states[0].used
        };
        let spend = async |limiter: &Limiter, text: &str| {
            let other = LimitCheck::spend(limit, Key::client([192, 0, 2, 1].into()));
            let check = LimitCheck::spend(limit, limiter.hashed_key(text));
            let decision = limiter.check_resettable(&[check, other]).await;
            assert_eq!(decision.states.len(), 2);
            decision.allows()
        };
        let steps = [ring(&[1]), ring(&[1, 2]), ring(&[2, 1]), ring(&[2])];
        if shared.is_none() {
            // Alone, a process has one ring; both of its keys are counted and forgotten together.
            let both = &steps[1];
            assert!(spend(both, "ada").await && spend(both, "ada").await);
            assert_eq!(used(both, "ada").await, 2);
            both.reset(&[(limit, both.hashed_key("ada"))]).await;
            assert_eq!(used(both, "ada").await, 0);
            continue;
        }
        assert!(spend(&steps[0], "ada").await);
        assert_eq!(used(&steps[1], "ada").await, 1, "the old key still counts");
        assert!(spend(&steps[1], "ada").await);
        for step in &steps[..3] {
            assert_eq!(used(step, "ada").await, 2);
        }
        assert!(spend(&steps[2], "ada").await);
        assert_eq!(
            used(&steps[3], "ada").await,
            2,
            "those since the new key came"
        );
        assert!(spend(&steps[2], "ada").await && spend(&steps[1], "ada").await);
        assert_eq!(used(&steps[1], "ada").await, 5);
        assert!(!spend(&steps[1], "ada").await && !spend(&steps[2], "ada").await);
        assert_eq!(used(&steps[2], "grace").await, 0);
        steps[2].reset(&[(limit, steps[2].hashed_key("ada"))]).await;
        for step in &steps {
            assert_eq!(used(step, "ada").await, 0);
        }
    }
}
