//! Counts in Redis of keys that one call may use. Checks that arrive during a call are batched into the next one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use redis::{Cmd, ErrorKind, ServerErrorKind};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use clock::Clock;
use redis_client::{Redis, RedisError};

use crate::deferred::Uses;
use crate::{Decision, Key, Limit, LimitCheck, LimitState};

const SCRIPT: &str = include_str!("window.lua");

/// Requests in a group: the script pushes all their uses in one call, whose arguments Lua bounds at a few
/// thousand.
const GROUP_MAX: usize = 1_000;

/// Uses in a call, which holds up all others of Redis meanwhile.
const CALL_MAX: u32 = 1_000;

/// Argument of `EVALSHA`.
static SCRIPT_SHA1: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
    let bytes = hash.as_ref().iter();
    bytes.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
});

/// Keys that one call may use, and the requests that wait for it.
pub(crate) struct Lane {
    redis: Redis,
    clock: Clock,
    /// Prefix of the keys, with the hash tag of a cluster.
    prefix: String,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    requests: Vec<Queued>,
    /// Set while a task sends the queue.
    is_sending: bool,
}

/// A queued request, or several uses of one limit that were allowed before.
struct Queued {
    checks: Vec<LimitCheck>,
    unconditional: bool,
    /// 1 for a request.
    uses: u32,
    /// Time since they were allowed, in microseconds.
    age: u64,
    reply: oneshot::Sender<Reply>,
}

pub(crate) type Reply = Result<Decision, Arc<RedisError>>;

impl Lane {
    pub(crate) fn new(redis: Redis, clock: Clock, prefix: String) -> Self {
        Self {
            redis,
            clock,
            prefix,
            queue: Mutex::default(),
        }
    }

    /// Runs the script in a batch. Takes at most two calls: the one in progress and the next.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        checks: Vec<LimitCheck>,
        unconditional: bool,
    ) -> Result<Decision, Arc<RedisError>> {
        let (reply, received) = oneshot::channel();
        self.enqueue(Queued {
            checks,
            unconditional,
            uses: 1,
            age: 0,
            reply,
        });
        // The script runs for several requests at once, in a task of none of them.
        let span = tracing::info_span!(
            target: "otel",
            "rate limit",
            otel.kind = "client",
            db.system.name = "redis",
        );
        received
            .instrument(span)
            .await
            .unwrap_or_else(|_| Err(Arc::new(RedisError::Unavailable)))
    }

    /// Spends what this process has allowed. The state after it is received once the script has run.
    pub(crate) fn record(self: &Arc<Self>, uses: &Uses, now: u64) -> oneshot::Receiver<Reply> {
        let (reply, received) = oneshot::channel();
        self.enqueue(Queued {
            checks: vec![LimitCheck::spend(uses.limit, uses.key)],
            unconditional: true,
            uses: uses.count,
            age: now.saturating_sub(uses.latest),
            reply,
        });
        received
    }

    fn enqueue(self: &Arc<Self>, queued: Queued) {
        let starts = {
            let mut queue = self.lock();
            queue.requests.push(queued);
            !std::mem::replace(&mut queue.is_sending, true)
        };
        if starts {
            let lane = Arc::clone(self);
            tokio::spawn(
                Sending {
                    lane,
                    is_done: false,
                }
                .run(),
            );
        }
    }

    /// Runs the script for a check of its own, outside of the queue.
    pub(crate) async fn probe(&self, check: LimitCheck) -> Result<(), RedisError> {
        let (reply, _) = oneshot::channel();
        let groups = gather(vec![Queued {
            checks: vec![check],
            unconditional: false,
            uses: 1,
            age: 0,
            reply,
        }]);
        self.call(&groups, None).await.map(drop)
    }

    /// One round trip, or two if Redis does not have the script.
    async fn call(&self, groups: &[Group], now: Option<i64>) -> Result<Vec<i64>, RedisError> {
        let by_hash = self.command("EVALSHA", &SCRIPT_SHA1, groups, now);
        match self.redis.query(&by_hash).await {
            Err(RedisError::Command(error)) if is_unknown_script(&error) => {
                let by_text = self.command("EVAL", SCRIPT, groups, now);
                self.redis.query(&by_text).await
            }
            result => result,
        }
    }

    fn command(&self, verb: &str, script: &str, groups: &[Group], now: Option<i64>) -> Cmd {
        let checks = || groups.iter().flat_map(|group| &group.checks);
        let mut command = redis::cmd(verb);
        command.arg(script).arg(checks().count());
        for check in checks() {
            command.arg(self.name(check.limit, check.key));
        }
        match now {
            Some(now) => command.arg(now),
            None => command.arg(""),
        };
        for group in groups {
            command
                .arg(group.uses)
                .arg(u8::from(group.unconditional))
                .arg(group.age)
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

    /// Key of a count.
    pub(crate) fn name(&self, limit: Limit, key: Key) -> String {
        format!("{}{}:{key}", self.prefix, limit.name())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The only task that sends. However it ends, the next request starts another.
struct Sending {
    lane: Arc<Lane>,
    is_done: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.is_done {
            return; // Another task may be sending by now: the queue is its own.
        }
        let mut queue = self.lane.lock();
        queue.is_sending = false;
        // The closed channels report it.
        queue.requests.clear();
    }
}

impl Sending {
    async fn run(mut self) {
        loop {
            // Tasks that are ready run first: their checks join the batch.
            tokio::task::yield_now().await;
            let Some(batch) = self.next() else { break };
            self.send(batch).await;
        }
        self.is_done = true;
    }

    /// Takes the queue. The next request after an empty one starts another task.
    fn next(&self) -> Option<Vec<Queued>> {
        let mut queue = self.lane.lock();
        queue.is_sending = !queue.requests.is_empty();
        let mut uses = queue.requests.first().map_or(0, |first| first.uses);
        let more = queue.requests.iter().skip(1).take_while(|queued| {
            uses = uses.saturating_add(queued.uses);
            uses < CALL_MAX
        });
        let count = (1 + more.count()).min(queue.requests.len());
        queue
            .is_sending
            .then(|| queue.requests.drain(..count).collect())
    }

    async fn send(&self, batch: Vec<Queued>) {
        let groups = gather(batch);
        let now = self.lane.clock.fixed_now();
        let now = now.map(|now| now.timestamp_micros());
        let result = self.lane.call(&groups, now).await;
        match result {
            Ok(reply) => dispatch(groups, &reply),
            Err(error) => {
                let error = Arc::new(error);
                for reply in groups.into_iter().flat_map(|group| group.replies) {
                    // The receiver is gone if the client disconnected.
                    let _ = reply.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

/// Requests with identical checks, or uses of one limit.
struct Group {
    checks: Vec<LimitCheck>,
    unconditional: bool,
    uses: u32,
    age: u64,
    /// One for each request, one for all uses.
    replies: Vec<oneshot::Sender<Reply>>,
}

impl Group {
    fn join(&mut self, reply: oneshot::Sender<Reply>) {
        self.uses += 1;
        self.replies.push(reply);
    }
}

fn gather(batch: Vec<Queued>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(batch.len());
    let mut known: HashMap<Vec<LimitCheck>, usize> = HashMap::new();
    for Queued {
        checks,
        unconditional,
        uses,
        age,
        reply,
    } in batch
    {
        // Unconditional ones get the state before, which differs for each.
        let joins = |group: &Group| group.replies.len() < GROUP_MAX;
        if unconditional {
            // Requests that come after it join no group before it.
            known.clear();
        } else {
            // A flood of one client joins the last group without hashing.
            if let Some(last) = groups.last_mut()
                && !last.unconditional
                && last.checks == checks
                && joins(last)
            {
                last.join(reply);
                continue;
            }
            let group = known.get(&checks).map(|at| &mut groups[*at]);
            if let Some(group) = group.filter(|it| joins(it)) {
                group.join(reply);
                continue;
            }
            known.insert(checks.clone(), groups.len());
        }
        groups.push(Group {
            checks,
            unconditional,
            uses,
            age,
            replies: vec![reply],
        });
    }
    groups
}

fn is_unknown_script(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Sends each request its decision.
fn dispatch(groups: Vec<Group>, mut reply: &[i64]) {
    for group in groups {
        let Some((&allowed, rest)) = reply.split_first() else {
            return;
        };
        let (rows, rest) = rest
            .split_at_checked(3 * group.checks.len())
            .unwrap_or_default();
        reply = rest;
        // That of the last of several uses is sent.
        let first = i64::from(group.uses) - i64::try_from(group.replies.len()).unwrap_or_default();
        for (turn, reply) in (first..).zip(group.replies) {
            let decision = decision(&group.checks, rows, turn, allowed, group.unconditional);
            let _ = reply.send(Ok(decision));
        }
    }
}

/// Decision for the request at position `turn` of a group of which `allowed` are allowed.
fn decision(
    checks: &[LimitCheck],
    rows: &[i64],
    turn: i64,
    allowed: i64,
    unconditional: bool,
) -> Decision {
    let is_allowed = turn < allowed;
    let spent = if is_allowed || unconditional {
        turn + 1
    } else {
        allowed
    };
    let states = checks.iter().zip(rows.chunks_exact(3)).map(|(check, row)| {
        let used = row[0] + if check.spends { spent } else { 0 };
        let used = used.min(i64::from(check.limit.max()));
        let waits = (unconditional || !is_allowed) && row[2] > 0;
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

    fn waiting(checks: &[LimitCheck], unconditional: bool) -> Queued {
        let (reply, _) = oneshot::channel();
        Queued {
            checks: checks.to_vec(),
            unconditional,
            uses: 1,
            age: 0,
            reply,
        }
    }

    #[test]
    fn identical_checks_are_one_group_up_to_its_size() {
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
            .map(|it| (it.unconditional, it.replies.len()))
            .collect();
        let plain = [1_000, 1_000, 501, 1].map(|size| (false, size));
        assert_eq!(sizes, [&plain[..], &[(true, 1), (true, 1)]].concat());
    }
}
