//! Limits that are counted under two keys at once, while the ring of secrets that hide them is changed.

use crate::{Decision, LimitCheck, LimitState};

/// Asks of which some stand for two.
pub(crate) struct Paired {
    /// All of them with one key each: the first ones in their order, then the second ones.
    pub(crate) checks: Vec<LimitCheck>,
    /// The places of those that have a second one.
    seconds: Vec<usize>,
}

impl Paired {
    /// `None` where no key is hidden under two secrets.
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

    /// How the limits stand as they were asked for: of two, as the stricter one.
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
