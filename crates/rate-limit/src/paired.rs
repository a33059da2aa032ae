//! Checks under two hashes at once, during a rotation of the secrets of [hashed keys](crate::Limiter::hashed_key).

use crate::{Decision, LimitCheck, LimitState};

/// Checks of which some have a second key.
pub(crate) struct Paired {
    /// One key each: the first ones in their order, then the second ones.
    pub(crate) checks: Vec<LimitCheck>,
    /// Positions of the checks that have a second one.
    seconds: Vec<usize>,
}

impl Paired {
    /// Returns `None` if no check has a second key.
    pub(crate) fn of(checks: &[LimitCheck]) -> Option<Self> {
        if checks.iter().all(|check| check.key.split().1.is_none()) {
            return None;
        }
        let first = |check: &LimitCheck| LimitCheck {
            key: check.key.split().0,
            ..*check
        };
        let mut all: Vec<_> = checks.iter().map(first).collect();
        let mut seconds = Vec::new();
        for (at, check) in checks.iter().enumerate() {
            if let Some(key) = check.key.split().1 {
                all.push(LimitCheck { key, ..*check });
                seconds.push(at);
            }
        }
        Some(Self {
            checks: all,
            seconds,
        })
    }

    /// One state per original check: of two, the stricter values.
    pub(crate) fn fold(&self, decision: Decision) -> Decision {
        let mut states = decision.states;
        let firsts = states.len().saturating_sub(self.seconds.len());
        let seconds = states.split_off(firsts);
        for (at, second) in self.seconds.iter().zip(seconds) {
            if let Some(first) = states.get_mut(*at) {
                *first = stricter(first, &second);
            }
        }
        Decision { states }
    }
}

fn stricter(one: &LimitState, other: &LimitState) -> LimitState {
    LimitState {
        limit: one.limit,
        used: one.used.max(other.used),
        reset: one.reset.max(other.reset),
        wait: one.wait.max(other.wait),
    }
}
