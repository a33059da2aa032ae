//! The counts that all replicas share, in Redis. What requests ask while a call is under way is
//! gathered into the next one, so that many at once cost little more than one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use redis::{Cmd, ErrorKind, ServerErrorKind};
use tokio::sync::oneshot;
use tracing::Instrument as _;
use uuid::Uuid;

use clock::Clock;
use redis_client::{Redis, RedisError};

use crate::{Decision, Key, Limit, LimitCheck, LimitState};

const SCRIPT: &str = include_str!("window.lua");

/// Requests that one group has at most: the script hands all their uses over in one call, whose
/// arguments Lua bounds at a few thousand.
const GROUP_MAX: usize = 1_000;

/// The name under which Redis remembers the script.
static SCRIPT_SHA1: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
    let bytes = hash.as_ref().iter();
    bytes.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
});

/// A handle on the counts; a clone is another one.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    redis: Redis,
    clock: Clock,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// A task sends what waits, call by call.
    is_sent: bool,
}

/// A request and whoever waits for its answer.
struct Waiting {
    checks: Vec<LimitCheck>,
    forced: bool,
    answer: oneshot::Sender<Result<Decision, Arc<RedisError>>>,
}

impl Shared {
    pub(crate) fn new(redis: Redis, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            redis,
            clock,
            queue: Mutex::default(),
        }))
    }

    /// Decides by the script. Takes as long as two calls at most: the one under way and its own.
    pub(crate) async fn decide(
        &self,
        checks: &[LimitCheck],
        forced: bool,
    ) -> Result<Decision, Arc<RedisError>> {
        if !self.0.redis.is_available() {
            return Err(Arc::new(RedisError::Unavailable));
        }
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut queue = self.0.lock();
            queue.waiting.push(Waiting {
                checks: checks.to_vec(),
                forced,
                answer,
            });
            !std::mem::replace(&mut queue.is_sent, true)
        };
        if begins {
            let inner = Arc::clone(&self.0);
            tokio::spawn(
                Sending {
                    inner,
                    is_done: false,
                }
                .run(),
            );
        }
        // The script runs for several requests at once, in a task of none of them.
        let span = tracing::info_span!(
            target: "otel",
            "rate limit",
            otel.kind = "client",
            db.system.name = "redis",
        );
        answered
            .instrument(span)
            .await
            .unwrap_or_else(|_| Err(Arc::new(RedisError::Unavailable)))
    }

    /// Runs the script for a key that nobody spends.
    pub(crate) async fn probe(&self) -> Result<(), RedisError> {
        let check = LimitCheck::peek(Limit::per_minute("probe", 1), Key::user(Uuid::nil()));
        let (answer, _) = oneshot::channel();
        let groups = gather(vec![Waiting {
            checks: vec![check],
            forced: false,
            answer,
        }]);
        call(&self.0.redis, &groups, None).await.map(drop)
    }

    /// Forgets the counts; what cannot be reached forgets by itself in time.
    pub(crate) async fn reset(&self, uses: &[(Limit, Key)]) {
        let mut command = redis::cmd("DEL");
        for (limit, key) in uses {
            command.arg(name(*limit, *key));
        }
        if let Err(error) = self.0.redis.query::<u32>(&command).await {
            tracing::warn!(%error, "a limit could not be forgotten");
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one task that sends. However it ends, the next request begins another.
struct Sending {
    inner: Arc<Inner>,
    is_done: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.is_done {
            return; // another task may send by now: its queue is not ours to clear
        }
        let mut queue = self.inner.lock();
        queue.is_sent = false;
        // Whoever still waits is told by the closed channel.
        queue.waiting.clear();
    }
}

impl Sending {
    async fn run(mut self) {
        loop {
            // Behind whatever else is about to run: requests that are here already come along.
            tokio::task::yield_now().await;
            let Some(batch) = self.next() else { break };
            self.send(batch).await;
        }
        self.is_done = true;
    }

    /// What waits. Whoever comes once nothing did begins another task.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.inner.lock();
        queue.is_sent = !queue.waiting.is_empty();
        queue.is_sent.then(|| std::mem::take(&mut queue.waiting))
    }

    async fn send(&self, batch: Vec<Waiting>) {
        let groups = gather(batch);
        let now = self.inner.clock.fixed_now();
        let answer = call(
            &self.inner.redis,
            &groups,
            now.map(|now| now.timestamp_micros()),
        )
        .await;
        match answer {
            Ok(reply) => tell(groups, &reply),
            Err(error) => {
                let error = Arc::new(error);
                for waiting in groups.into_iter().flat_map(|group| group.waiting) {
                    // Nobody waits any more where a client has hung up.
                    let _ = waiting.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

/// Requests that ask the very same.
struct Group {
    checks: Vec<LimitCheck>,
    forced: bool,
    waiting: Vec<oneshot::Sender<Result<Decision, Arc<RedisError>>>>,
}

fn gather(batch: Vec<Waiting>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(batch.len());
    let mut known: HashMap<Vec<LimitCheck>, usize> = HashMap::new();
    for Waiting {
        checks,
        forced,
        answer,
    } in batch
    {
        // What is spent in any case is told how it stood before, each one differently.
        let joins = |group: &Group| group.waiting.len() < GROUP_MAX;
        if !forced {
            // A flood of one client is told by the group before, which costs no hash.
            if let Some(last) = groups.last_mut()
                && !last.forced
                && last.checks == checks
                && joins(last)
            {
                last.waiting.push(answer);
                continue;
            }
            let group = known.get(&checks).map(|at| &mut groups[*at]);
            if let Some(group) = group.filter(|it| joins(it)) {
                group.waiting.push(answer);
                continue;
            }
            known.insert(checks.clone(), groups.len());
        }
        groups.push(Group {
            checks,
            forced,
            waiting: vec![answer],
        });
    }
    groups
}

/// One round trip, or two when Redis has forgotten the script.
async fn call(redis: &Redis, groups: &[Group], now: Option<i64>) -> Result<Vec<i64>, RedisError> {
    match redis
        .query(&command("EVALSHA", &SCRIPT_SHA1, groups, now))
        .await
    {
        Err(RedisError::Command(error)) if is_unknown_script(&error) => {
            redis.query(&command("EVAL", SCRIPT, groups, now)).await
        }
        answer => answer,
    }
}

fn command(verb: &str, script: &str, groups: &[Group], now: Option<i64>) -> Cmd {
    let checks = || groups.iter().flat_map(|group| &group.checks);
    let mut command = redis::cmd(verb);
    command.arg(script).arg(checks().count());
    for check in checks() {
        command.arg(name(check.limit, check.key));
    }
    match now {
        Some(now) => command.arg(now),
        None => command.arg(""),
    };
    for group in groups {
        command
            .arg(group.waiting.len())
            .arg(u8::from(group.forced))
            .arg(group.checks.len());
        for check in &group.checks {
            command
                .arg(check.limit.max())
                .arg(micros(check.limit.window()))
                .arg(u8::from(check.spends));
        }
    }
    command
}

fn name(limit: Limit, key: Key) -> String {
    format!("limit:{}:{key}", limit.name())
}

fn is_unknown_script(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Tells each request what the script answered for its group.
fn tell(groups: Vec<Group>, mut reply: &[i64]) {
    for group in groups {
        let Some((&allowed, rest)) = reply.split_first() else {
            return;
        };
        let (rows, rest) = rest
            .split_at_checked(3 * group.checks.len())
            .unwrap_or_default();
        reply = rest;
        for (turn, waiting) in (0..).zip(group.waiting) {
            let decision = decision(&group.checks, rows, turn, allowed, group.forced);
            let _ = waiting.send(Ok(decision));
        }
    }
}

/// What the request is told that comes at this turn in a group of which so many are allowed.
fn decision(
    checks: &[LimitCheck],
    rows: &[i64],
    turn: i64,
    allowed: i64,
    forced: bool,
) -> Decision {
    let is_allowed = turn < allowed;
    let spent = if is_allowed || forced {
        turn + 1
    } else {
        allowed
    };
    let states = checks.iter().zip(rows.chunks_exact(3)).map(|(check, row)| {
        let used = row[0] + if check.spends { spent } else { 0 };
        let used = used.min(i64::from(check.limit.max()));
        let waits = (forced || !is_allowed) && row[2] > 0;
        LimitState {
            limit: check.limit,
            used: u32::try_from(used).unwrap_or(u32::MAX),
            reset: span(row[1]),
            wait: waits.then(|| span(row[2])),
        }
    });
    Decision {
        states: states.collect(),
    }
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

pub(crate) fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(checks: &[LimitCheck], forced: bool) -> Waiting {
        let (answer, _) = oneshot::channel();
        Waiting {
            checks: checks.to_vec(),
            forced,
            answer,
        }
    }

    #[test]
    fn what_is_asked_alike_is_one_group_up_to_its_size() {
        let check = |id: u128| {
            let key = Key::user(uuid::Uuid::from_u128(id));
            [LimitCheck::spend(Limit::per_minute("free", 100), key)]
        };
        let mut batch: Vec<_> = (0..2_500).map(|_| waiting(&check(1), false)).collect();
        batch.push(waiting(&check(2), false));
        batch.push(waiting(&check(1), false));
        batch.extend([waiting(&check(1), true), waiting(&check(1), true)]);
        let groups = gather(batch);
        let sizes: Vec<_> = groups
            .iter()
            .map(|it| (it.forced, it.waiting.len()))
            .collect();
        let plain = [1_000, 1_000, 501, 1].map(|size| (false, size));
        assert_eq!(sizes, [&plain[..], &[(true, 1), (true, 1)]].concat());
    }
}
