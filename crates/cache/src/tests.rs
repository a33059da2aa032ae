//! One process alone: one read for all, shared errors, readers that go away, and old rows.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};

use super::*;

static WORDS: CacheFamily<u64, String> =
    CacheFamily::in_process("pricing", Duration::from_mins(1), 8);

/// A cache whose reads are counted and wait for a sign.
struct Bench {
    cache: Cache,
    clock: Clock,
    reads: Arc<AtomicUsize>,
    began: Arc<Notify>,
    may_end: Arc<Semaphore>,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::fixed(DateTime::<Utc>::UNIX_EPOCH);
        Self {
            cache: Cache::new(None, clock.clone(), Rng::system()),
            clock,
            reads: Arc::default(),
            began: Arc::default(),
            may_end: Arc::new(Semaphore::new(0)),
        }
    }

    /// Looks 7 up; a read brings `word`, once it is let.
    async fn get(&self, word: Result<&str, io::Error>) -> Result<Arc<String>, LoadError> {
        let (reads, began, may_end) =
            (self.reads.clone(), self.began.clone(), self.may_end.clone());
        let word = word.map(str::to_owned);
        let read = || async move {
            reads.fetch_add(1, Ordering::SeqCst);
            began.notify_one();
            may_end.acquire().await.expect("it is open").forget();
            word
        };
        self.cache.get(&WORDS, &7, read).await
    }

    /// Lets this many reads end.
    fn let_end(&self, reads: usize) {
        self.may_end.add_permits(reads);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn reads_under_way(&self) -> usize {
        self.cache.memory(&WORDS).loads()
    }
}

#[tokio::test]
async fn a_hundred_that_miss_at_once_make_one_read() {
    let bench = Bench::new();
    let all = join_all((0..100).map(|_| bench.get(Ok("one"))));
    let (all, ()) = tokio::join!(all, async {
        bench.began.notified().await;
        bench.let_end(1);
    });
    assert!(all.iter().all(|word| **word.as_ref().unwrap() == "one"));
    assert_eq!(bench.reads(), 1);
    assert_eq!(*bench.get(Ok("two")).await.unwrap(), "one", "it is kept");
    assert_eq!((bench.reads(), bench.reads_under_way()), (1, 0));
}

#[tokio::test]
async fn who_waits_for_a_read_that_fails_has_its_error_and_the_next_one_reads_again() {
    let bench = Bench::new();
    let all = join_all((0..100).map(|_| bench.get(Err(io::ErrorKind::TimedOut.into()))));
    let (all, ()) = tokio::join!(all, async {
        bench.began.notified().await;
        bench.let_end(1);
    });
    for answer in all {
        let error = answer.unwrap_err();
        let error = error.downcast_ref::<io::Error>().expect("the load's error");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
    assert_eq!((bench.reads(), bench.reads_under_way()), (1, 0));
    bench.let_end(1);
    assert_eq!(*bench.get(Ok("well")).await.unwrap(), "well");
    assert_eq!(bench.reads(), 2);
}

#[tokio::test]
async fn who_began_a_read_and_goes_away_leaves_it_to_the_others() {
    let bench = Bench::new();
    let mut first = Box::pin(bench.get(Ok("one")));
    assert!(first.as_mut().now_or_never().is_none(), "it waits");
    let mut second = Box::pin(bench.get(Ok("two")));
    assert!(second.as_mut().now_or_never().is_none(), "it waits too");
    drop(first);
    bench.let_end(1);
    assert_eq!(*second.await.unwrap(), "one");
    assert_eq!(bench.reads(), 1);
}

#[tokio::test]
async fn a_read_that_everybody_left_ends_and_the_next_one_begins_anew() {
    let bench = Bench::new();
    let mut left = Box::pin(bench.get(Ok("one")));
    assert!(left.as_mut().now_or_never().is_none(), "it waits");
    assert_eq!(bench.reads_under_way(), 1);
    drop(left);
    assert_eq!(bench.reads_under_way(), 0);
    bench.let_end(1);
    assert_eq!(*bench.get(Ok("two")).await.unwrap(), "two");
}

#[tokio::test]
async fn a_row_that_was_read_before_it_changed_is_kept_by_nobody() {
    let bench = Bench::new();
    let mut old = Box::pin(bench.get(Ok("old")));
    assert!(old.as_mut().now_or_never().is_none(), "it waits");
    bench.cache.invalidate(&WORDS, &7).await;
    // A caller after the change does not wait for a load that began before it.
    let mut new = Box::pin(bench.get(Ok("new")));
    assert!(new.as_mut().now_or_never().is_none(), "it reads");
    assert_eq!(bench.reads(), 2);
    bench.let_end(2);
    assert_eq!(*new.await.unwrap(), "new");
    assert_eq!(*old.await.unwrap(), "old", "it asked before the change");
    assert_eq!(*bench.get(Ok("newer")).await.unwrap(), "new");
    assert_eq!((bench.reads(), bench.reads_under_way()), (2, 0));
}

#[tokio::test]
async fn what_cannot_hear_of_changes_is_believed_for_two_seconds_and_no_other_time() {
    let bench = Bench::new();
    bench.let_end(3);
    assert_eq!(*bench.get(Ok("one")).await.unwrap(), "one");
    bench
        .clock
        .advance(TTL_WITHOUT_LISTENER.saturating_sub(Duration::from_millis(1)));
    assert_eq!(*bench.get(Ok("two")).await.unwrap(), "one");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(*bench.get(Ok("two")).await.unwrap(), "two");
}

#[tokio::test]
async fn no_more_is_kept_than_the_family_allows_and_what_is_used_stays() {
    let bench = Bench::new();
    let reads = &AtomicUsize::new(0);
    let get = async |key: u64| {
        let read = || {
            reads.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, io::Error>(key.to_string()) }
        };
        bench.cache.get(&WORDS, &key, read).await.unwrap()
    };
    for key in 1..=1_000 {
        assert_eq!(*get(key).await, key.to_string());
        get(0).await;
        assert!(bench.cache.memory(&WORDS).len() <= 8);
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1_001, "0 is read once");
}
