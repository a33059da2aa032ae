//! The cache between replicas: what Redis keeps for them, what they tell each other, and what is left
//! when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cache::{Cache, CacheFamily};
use chrono::{DateTime, Utc};
use clock::{Clock, Rng};
use groundwork_dev::{Fault, Proxy};
use redis_client::Redis;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::fastest;

const TIMEOUT: Duration = Duration::from_mins(1);

/// What a command to Redis may cost, far more than a busy machine makes of one that succeeds.
const COST: Duration = Duration::from_secs(1);

static WORDS: CacheFamily<u32, String> =
    CacheFamily::shared("plan", 1, Duration::from_mins(1), 100);

/// A table with one row, which is read and counted.
#[derive(Clone, Default)]
struct Table(Arc<AtomicUsize>);

impl Table {
    fn reads(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A Redis of its own behind a network that can fail, and replicas that use it.
struct World {
    redis: groundwork_dev::Redis,
    proxy: Proxy,
    clock: Clock,
    table: Table,
}

struct Replica {
    cache: Cache,
    table: Table,
    /// Ends with the replica.
    watch: Option<AbortOnDropHandle<()>>,
}

impl World {
    async fn new() -> Self {
        let redis = groundwork_dev::Redis::throw_away().await;
        let redis = redis.expect("it starts");
        let port = redis.url().rsplit(':').next().map(str::parse);
        let port = port.and_then(Result::ok).expect("it has a port");
        Self {
            redis,
            proxy: Proxy::start(port).await.expect("it starts"),
            clock: Clock::fixed(DateTime::<Utc>::UNIX_EPOCH),
            table: Table::default(),
        }
    }

    /// A process whose way to Redis never fails.
    fn replica(&self) -> Replica {
        self.connected(&self.redis.url())
    }

    /// A process whose way to Redis is the network that can.
    fn behind_the_network(&self) -> Replica {
        self.connected(&self.proxy.through(&self.redis.url()))
    }

    fn connected(&self, url: &str) -> Replica {
        let redis = Redis::connect_lazy(&url.into(), COST).expect("it is a URL");
        let cache = Cache::new(Some(redis), self.clock.clone(), Rng::system());
        Replica {
            cache,
            table: self.table.clone(),
            watch: None,
        }
    }
}

impl Replica {
    /// Listens to the others from now on.
    async fn watching(mut self) -> Self {
        let watch = self.cache.clone().listen(CancellationToken::new());
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
        self.hears().await;
        self
    }

    /// Waits until news arrive.
    async fn hears(&self) {
        let began = Instant::now();
        while !self.cache.is_listening() {
            let is_watching = self
                .watch
                .as_ref()
                .is_some_and(|watch| !watch.is_finished());
            assert!(is_watching && began.elapsed() < TIMEOUT, "it hears");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Looks 7 up; the row has `word`.
    async fn get(&self, word: &str) -> String {
        let (table, word) = (self.table.clone(), word.to_owned());
        let got = self.cache.get(&WORDS, &7, || async move {
            table.0.fetch_add(1, Ordering::SeqCst);
            Ok::<_, sqlx::Error>(word)
        });
        got.await.expect("it is read").as_ref().clone()
    }

    async fn forget(&self) {
        self.cache.invalidate(&WORDS, &7).await;
    }

    /// Waits until the row's `word` is seen.
    async fn sees(&self, word: &str) {
        let began = Instant::now();
        while self.get(word).await != word {
            assert!(began.elapsed() < TIMEOUT, "it sees {word}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_one_replica_has_read_another_finds_in_redis() {
    let world = World::new().await;
    let (one, two) = (world.replica(), world.replica());
    assert_eq!(one.get("word").await, "word");
    assert_eq!(two.get("another").await, "word");
    assert_eq!(world.table.reads(), 1);
}

#[tokio::test]
async fn what_one_replica_forgets_the_others_forget_within_a_second() {
    let world = World::new().await;
    let (one, two) = (
        world.replica().watching().await,
        world.replica().watching().await,
    );
    assert_eq!(
        (one.get("old").await, two.get("old").await),
        ("old".into(), "old".into())
    );
    assert_eq!(two.get("new").await, "old", "it is warm");
    let mut round = 0;
    let second = Duration::from_secs(1);
    let took = fastest(second, async || {
        round += 1;
        let text = format!("new {round}");
        let began = Instant::now();
        one.forget().await;
        assert_eq!(one.get(&text).await, text, "here it is gone at once");
        two.sees(&text).await;
        began.elapsed()
    })
    .await;
    assert!(took < second, "after {took:?}");
    let reads = world.table.reads();
    assert_eq!(reads, 1 + round, "the other one found each in Redis");
}

#[tokio::test]
async fn an_old_row_does_not_come_back_through_redis() {
    let world = World::new().await;
    let (one, two) = (world.replica(), world.replica());
    let (began, may_end) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let slow = {
        let (cache, began, may_end) = (one.cache.clone(), began.clone(), may_end.clone());
        tokio::spawn(async move {
            let got = cache.get(&WORDS, &7, || async move {
                began.notify_one();
                let _permit = may_end.acquire().await;
                Ok::<_, sqlx::Error>("old".to_owned())
            });
            got.await.expect("it is read").as_ref().clone()
        })
    };
    began.notified().await;
    // The row changes, and the news of it overtake whoever read it before.
    two.forget().await;
    may_end.add_permits(1);
    assert_eq!(slow.await.expect("it ends"), "old", "it asked before");
    assert_eq!(two.get("new").await, "new");
    assert_eq!(
        world.replica().get("newer").await,
        "new",
        "Redis has the new one"
    );
}

#[tokio::test]
async fn without_redis_everything_is_read_and_nothing_waits() {
    let world = World::new().await;
    let one = world.behind_the_network().watching().await;
    assert_eq!(one.get("one").await, "one");
    for fault in [Fault::Refuse, Fault::Blackhole] {
        world.proxy.set(fault);
        let mut slowest = Duration::ZERO;
        for round in 0..20 {
            let row = format!("{round}");
            let began = Instant::now();
            one.forget().await;
            assert_eq!(one.get(&row).await, row);
            slowest = slowest.max(began.elapsed());
        }
        assert!(slowest < 4 * COST, "{fault:?} costs {slowest:?}");
        world.proxy.set(Fault::None);
    }
}

#[tokio::test]
async fn who_cannot_hear_believes_nothing_for_longer_than_two_seconds() {
    let world = World::new().await;
    let deaf = world.behind_the_network().watching().await;
    let other = world.replica().watching().await;
    assert_eq!(
        (deaf.get("old").await, other.get("old").await),
        ("old".into(), "old".into())
    );
    world.proxy.set(Fault::Refuse);
    other.forget().await;
    while deaf.cache.is_listening() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(deaf.get("new").await, "new");
}

#[tokio::test]
async fn invalidations_that_could_not_be_sent_are_sent_when_redis_is_back() {
    let world = World::new().await;
    let cut_off = world.behind_the_network().watching().await;
    let other = world.replica().watching().await;
    assert_eq!(cut_off.get("old").await, "old");
    assert_eq!(other.get("old").await, "old");
    world.proxy.set(Fault::Refuse);
    cut_off.forget().await;
    assert_eq!(other.get("new").await, "old", "nobody reported it");
    world.proxy.set(Fault::None);
    other.sees("new").await;
    assert_eq!(cut_off.get("newer").await, "new");
}

#[tokio::test]
async fn what_may_have_gone_unheard_is_read_again() {
    let world = World::new().await;
    let one = world.behind_the_network().watching().await;
    let other = world.replica().watching().await;
    assert_eq!(
        (one.get("old").await, other.get("old").await),
        ("old".into(), "old".into())
    );
    world.proxy.set(Fault::Refuse);
    other.forget().await;
    while one.cache.is_listening() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.proxy.set(Fault::None);
    one.hears().await;
    assert_eq!(
        one.get("new").await,
        "new",
        "the clock stands, so that no time ended it"
    );
}
