//! Counts in Redis, in lanes of keys that may share a call: one lane, or several in a Redis Cluster.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::oneshot;
use uuid::Uuid;

use clock::Clock;
use redis_client::{Redis, RedisError};

use crate::deferred::Uses;
use crate::lane::{Lane, Reply};
use crate::{Decision, Key, Limit, LimitCheck};

/// Lanes in a Redis Cluster, whose scripts may use keys of one hash slot alone: each lane has a slot of its own. Enough to
/// spread over the nodes of a large cluster, and few enough that requests still share calls.
const LANES_IN_CLUSTER: u16 = 64;

pub(crate) struct Shared {
    redis: Redis,
    /// One, or [`LANES_IN_CLUSTER`].
    lanes: Box<[Arc<Lane>]>,
}

impl Shared {
    pub(crate) fn new(redis: Redis, clock: &Clock) -> Self {
        let prefixes: Vec<_> = if redis.is_cluster() {
            let lanes = 0..LANES_IN_CLUSTER;
            lanes.map(|lane| format!("limit:{{{lane}}}:")).collect()
        } else {
            vec!["limit:".to_owned()]
        };
        let lane = |prefix| Arc::new(Lane::new(redis.clone(), clock.clone(), prefix));
        Self {
            lanes: prefixes.into_iter().map(lane).collect(),
            redis,
        }
    }

    pub(crate) const fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Decides in a batch. In a cluster, keys of several lanes are read first and spent in a second call each, so that all or
    /// none are spent unless another request uses up one of them in between.
    pub(crate) async fn decide(
        &self,
        checks: &[LimitCheck],
        unconditional: bool,
    ) -> Result<Decision, Arc<RedisError>> {
        if !self.redis.is_available() {
            return Err(Arc::new(RedisError::Unavailable));
        }
        if let Some(lane) = self.common_lane(checks) {
            return lane.decide(checks.to_vec(), unconditional).await;
        }
        Box::pin(self.decide_by_lanes(checks, unconditional)).await
    }

    async fn decide_by_lanes(
        &self,
        checks: &[LimitCheck],
        unconditional: bool,
    ) -> Result<Decision, Arc<RedisError>> {
        let spends = checks.iter().any(|check| check.spends);
        if spends && !unconditional {
            let peeks: Vec<_> = checks
                .iter()
                .map(|check| LimitCheck::peek(check.limit, check.key))
                .collect();
            let state = self.decide_in_parts(&peeks, false).await?;
            if !state.allows() {
                return Ok(state);
            }
        }
        self.decide_in_parts(checks, unconditional).await
    }

    /// `None` if the checks are in several lanes.
    fn common_lane(&self, checks: &[LimitCheck]) -> Option<&Arc<Lane>> {
        if let [only] = &*self.lanes {
            return Some(only);
        }
        let (first, rest) = checks.split_first()?;
        let lane = self.lane_of(first.key);
        rest.iter()
            .all(|check| check.key == first.key || Arc::ptr_eq(lane, self.lane_of(check.key)))
            .then_some(lane)
    }

    /// Decides about the checks of each lane in a call of its own.
    async fn decide_in_parts(
        &self,
        checks: &[LimitCheck],
        unconditional: bool,
    ) -> Result<Decision, Arc<RedisError>> {
        let mut parts: Vec<(&Arc<Lane>, Vec<usize>)> = Vec::new();
        for (at, check) in checks.iter().enumerate() {
            let lane = self.lane_of(check.key);
            match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, lane)) {
                Some((_, positions)) => positions.push(at),
                None => parts.push((lane, vec![at])),
            }
        }
        let decisions = parts.iter().map(|(lane, positions)| {
            let checks = positions.iter().filter_map(|at| checks.get(*at)).copied();
            lane.decide(checks.collect(), unconditional)
        });
        let mut states = Vec::with_capacity(checks.len());
        for ((_, positions), decision) in parts.iter().zip(try_join_all(decisions).await?) {
            states.extend(positions.iter().copied().zip(decision.states));
        }
        states.sort_by_key(|(at, _)| *at);
        Ok(Decision {
            states: states.into_iter().map(|(_, state)| state).collect(),
        })
    }

    fn lane_of(&self, key: Key) -> &Arc<Lane> {
        // The count of lanes is part of the keys' names: a modulus is enough.
        &self.lanes[key.spread() % self.lanes.len()]
    }

    /// Spends what this process has allowed; each is received once it is in Redis.
    pub(crate) fn record(&self, uses: &[Uses], now: u64) -> Vec<oneshot::Receiver<Reply>> {
        uses.iter()
            .map(|it| self.lane_of(it.key).record(it, now))
            .collect()
    }

    /// Runs the script for a key that is not used otherwise.
    pub(crate) async fn probe(&self) -> Result<(), RedisError> {
        let check = LimitCheck::peek(Limit::per_minute("probe", 1), Key::user(Uuid::nil()));
        self.lane_of(check.key).probe(check).await
    }

    /// Deletes the counts. On failure they expire with their window.
    pub(crate) async fn reset(&self, uses: &[(Limit, Key)]) {
        let mut command = redis::cmd("DEL");
        for (limit, key) in uses {
            command.arg(self.lane_of(*key).name(*limit, *key));
        }
        if let Err(error) = self.redis.query::<u32>(&command).await {
            tracing::warn!(%error, "a rate limit could not be reset");
        }
    }
}
