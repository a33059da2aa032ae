//! The counting on a Redis Cluster and behind Sentinels.

use std::time::{Duration, Instant};

use cache::{Cache, CacheFamily};
use clock::{Clock, Rng};
use crypto::Key32;
use groundwork_dev::redis_sentinel::PRIMARY;
use groundwork_dev::{Redis as Server, RedisCluster, RedisSentinel};
use rate_limit::{Key, Limit, LimitCheck, Limiter};
use redis_client::{NodeAddress, Redis, RedisError, Servers};
use settings::Setting as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::engine::{TIMEOUT, client, limit, play, start};

const PASSWORD: &str = "correct-horse";

static WORDS: CacheFamily<u32, u32> = CacheFamily::shared("plan", 1, Duration::from_mins(1), 100);

fn node(text: &str) -> NodeAddress {
    NodeAddress::parse(text).expect("it is an address")
}

fn cluster_of(cluster: &RedisCluster) -> Servers {
    let urls = cluster.urls();
    let others = urls[1..].iter().map(|url| node(&url["redis://".len()..]));
    Servers::Cluster {
        url: urls[0].clone().into(),
        nodes: others.collect(),
    }
}

fn sentinels_of(group: &RedisSentinel) -> Servers {
    let addresses = group.sentinels();
    Servers::Sentinel {
        url: format!("redis://:{PASSWORD}@{}", addresses[0]).into(),
        nodes: addresses[1..].iter().map(|text| node(text)).collect(),
        primary: PRIMARY.to_owned(),
        password: None,
    }
}

fn connect(servers: &Servers) -> Redis {
    Redis::connect_lazy_to(servers, TIMEOUT).expect("they are addresses")
}

fn limiter(redis: Redis, clock: &Clock) -> Limiter {
    Limiter::new(Some(redis), clock.clone(), &[Key32::new([7; 32])])
}

/// Waits until the limiter counts in Redis.
async fn is_shared(limiter: &Limiter) {
    let began = Instant::now();
    let check = LimitCheck::peek(Limit::per_minute("wait", 1), client(250));
    loop {
        limiter.check_resettable(&[check]).await;
        if limiter.is_shared() {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "it counts alone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn used(limiter: &Limiter, limit: Limit, key: Key) -> u32 {
    let decision = limiter
        .check_resettable(&[LimitCheck::peek(limit, key)])
        .await;
    decision.states[0].used
}

#[tokio::test]
async fn a_cluster_counts_exactly_and_loses_one_node_without_losing_the_limits() {
    let mut cluster = RedisCluster::start().await.expect("it starts");
    let servers = cluster_of(&cluster);
    connect(&servers).diagnose().await.expect("it is well");

    // Exact over two replicas of the service.
    let clock = Clock::fixed(start());
    let replicas = [(); 2].map(|()| limiter(connect(&servers), &clock));
    let exact = limit("10/1m");
    let traces = play(&replicas, &clock, exact, Duration::from_mins(20)).await;
    for trace in traces {
        trace.assert_exact(exact);
    }
    assert!(replicas.iter().all(Limiter::is_shared));

    // Keys of different slots: all are spent, or none.
    let [one, other] = &replicas;
    let (wide, narrow) = (
        Limit::per_minute("wide", 50),
        Limit::per_minute("narrow", 2),
    );
    for number in 0..20 {
        let (first, second) = (client(number), client(number + 100));
        let both = [
            LimitCheck::spend(wide, first),
            LimitCheck::spend(narrow, second),
        ];
        for allowed in [true, true, false, false] {
            let decision = one.check_resettable(&both).await;
            assert_eq!(decision.allows(), allowed, "{number}");
            assert_eq!(decision.states[0].limit, wide);
            assert_eq!(decision.states[1].limit, narrow);
        }
        assert_eq!(used(other, wide, first).await, 2, "{number}");
        other.reset(&[(wide, first), (narrow, second)]).await;
        assert_eq!(used(one, wide, first).await, 0, "{number}");
        assert_eq!(used(one, narrow, second).await, 0, "{number}");
    }

    // A node goes: what it counted is at its replica.
    let live = limiter(connect(&servers), &Clock::system());
    is_shared(&live).await;
    let hourly = limit("1000/1h");
    for number in 0..100 {
        let check = [LimitCheck::spend(hourly, client(number))];
        assert!(live.check_resettable(&check).await.allows());
    }
    assert!(live.is_shared());
    cluster.is_replicated().await.expect("it is replicated");
    let killed = cluster.primaries().await[0];
    cluster.kill(killed);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let called = Instant::now();
        let check = [LimitCheck::spend(hourly, client(200))];
        assert!(live.check_resettable(&check).await.allows());
        slowest = slowest.max(called.elapsed());
        let others = cluster.primaries().await;
        let is_counting = live.probe().await.is_ok();
        if others.len() == 3 && !others.contains(&killed) && is_counting && live.is_shared() {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no replica takes over"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "a node was replaced after {:?}; the slowest check took {slowest:?}",
        began.elapsed()
    );
    let fresh = limiter(connect(&servers), &Clock::system());
    is_shared(&fresh).await;
    for number in 0..100 {
        assert_eq!(used(&fresh, hourly, client(number)).await, 1, "{number}");
    }
}

#[tokio::test]
async fn a_cluster_carries_values_and_invalidations() {
    let cluster = RedisCluster::start().await.expect("it starts");
    let servers = cluster_of(&cluster);
    let replicas =
        [(); 2].map(|()| Cache::new(Some(connect(&servers)), Clock::system(), Rng::system()));
    let _listening = replicas
        .clone()
        .map(|cache| AbortOnDropHandle::new(tokio::spawn(cache.listen(CancellationToken::new()))));
    let began = Instant::now();
    while !replicas.iter().all(Cache::is_listening) {
        assert!(began.elapsed() < Duration::from_mins(1), "they listen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let get = async |cache: &Cache, key: u32, value: u32| {
        let got = cache.get(&WORDS, &key, || async move { Ok::<_, sqlx::Error>(value) });
        *got.await.expect("it is read")
    };
    let [one, other] = &replicas;
    for key in 0..30 {
        assert_eq!(get(one, key, 1).await, 1);
        assert_eq!(get(other, key, 2).await, 1, "it is shared");
    }
    for key in 0..30 {
        one.invalidate(&WORDS, &key).await;
    }
    let began = Instant::now();
    for key in 0..30 {
        while get(other, key, 3).await != 3 {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{key} is invalidated"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_before_and_after_a_failover() {
    let mut group = RedisSentinel::start(PASSWORD).await.expect("it starts");
    let servers = sentinels_of(&group);
    connect(&servers).diagnose().await.expect("it is well");
    let live = limiter(connect(&servers), &Clock::system());
    is_shared(&live).await;
    let hourly = limit("1000/1h");
    let check = [LimitCheck::spend(hourly, client(1))];
    for _ in 0..5 {
        assert!(live.check_resettable(&check).await.allows());
    }
    group
        .is_replicated(PASSWORD)
        .await
        .expect("it is replicated");
    let first = group.primary().await.expect("there is one");
    group.kill_sentinel(0);
    group.kill(first);
    let began = Instant::now();
    while group.primary().await == Some(first) || live.probe().await.is_err() {
        assert!(live.check_resettable(&check).await.allows());
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no replica takes over"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("the primary was replaced after {:?}", began.elapsed());
    let fresh = limiter(connect(&servers), &Clock::system());
    is_shared(&fresh).await;
    assert!(used(&fresh, hourly, client(1)).await >= 5);
}

#[tokio::test]
async fn a_demoted_server_is_left_though_it_answers_reads() {
    let group = RedisSentinel::start(PASSWORD).await.expect("it starts");
    let servers = sentinels_of(&group);
    let live = limiter(connect(&servers), &Clock::system());
    is_shared(&live).await;
    let first = group.primary().await.expect("there is one");
    group.switch_over().await;
    let (hourly, key) = (limit("1000/1h"), client(1));
    let began = Instant::now();
    loop {
        // Reads between the writes: the writes that fail are never three in a row.
        live.probe().await.ok();
        assert!(
            live.check_resettable(&[LimitCheck::spend(hourly, key)])
                .await
                .allows()
        );
        live.probe().await.ok();
        if group.primary().await.is_some_and(|now| now != first) {
            let fresh = limiter(connect(&servers), &Clock::system());
            let before = used(&fresh, hourly, key).await;
            live.check_resettable(&[LimitCheck::spend(hourly, key)])
                .await;
            if fresh.is_shared() && used(&fresh, hourly, key).await == before + 1 {
                break;
            }
        }
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "it stays with the old one"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("a switchover took {:?}", began.elapsed());
}

#[tokio::test]
async fn servers_of_another_mode_are_named() {
    let single = Server::throw_away().await.expect("it starts");
    let cluster = RedisCluster::start().await.expect("it starts");
    let group = RedisSentinel::start(PASSWORD).await.expect("it starts");
    let sentinel = format!("redis://{}", group.sentinels()[0]);
    let as_cluster = |url: &str| Servers::Cluster {
        url: url.into(),
        nodes: Vec::new(),
    };
    let as_sentinel = |url: &str| Servers::Sentinel {
        url: url.into(),
        nodes: Vec::new(),
        primary: PRIMARY.to_owned(),
        password: None,
    };
    let as_single = |url: &str| Servers::Single(url.into());
    for (servers, setting) in [
        (as_single(&cluster.urls()[0]), "REDIS_MODE=cluster"),
        (as_single(&sentinel), "REDIS_MODE=sentinel"),
        (as_cluster(&single.url()), "REDIS_MODE=single"),
        (as_cluster(&sentinel), "REDIS_MODE=sentinel"),
        (as_sentinel(&single.url()), "REDIS_MODE=single"),
    ] {
        let error = connect(&servers)
            .diagnose()
            .await
            .expect_err("it is another");
        assert!(matches!(error, RedisError::Mode(_)), "{error}");
        assert!(error.to_string().contains(setting), "{error}");
        // The limits hold nevertheless, in this process.
        let alone = limiter(connect(&servers), &Clock::system());
        let check = [LimitCheck::spend(Limit::per_minute("held", 3), client(1))];
        let mut allowed = 0;
        for _ in 0..6 {
            allowed += u32::from(alone.check_resettable(&check).await.allows());
        }
        assert_eq!(allowed, 3, "{setting}");
    }
}
