//! Limits that are counted under two keys at once, while the ring of secrets that hide them is changed.

use crate::{Ask, Decision, Standing};

/// Asks of which some stand for two.
pub(crate) struct Paired {
    /// All of them with one key each: the first ones in their order, then the second ones.
    pub(crate) asks: Vec<Ask>,
    /// The places of those that have a second one.
    seconds: Vec<usize>,
}

impl Paired {
    /// `None` where no key is hidden under two secrets.
    pub(crate) fn of(asks: &[Ask]) -> Option<Self> {
        if asks.iter().all(|ask| ask.key.split().1.is_none()) {
            return None;
        }
        let first = |ask: &Ask| Ask {
            key: ask.key.split().0,
            ..*ask
        };
        let mut all: Vec<_> = asks.iter().map(first).collect();
        let mut seconds = Vec::new();
        for (at, ask) in asks.iter().enumerate() {
            if let Some(key) = ask.key.split().1 {
                all.push(Ask { key, ..*ask });
                seconds.push(at);
            }
        }
        Some(Self { asks: all, seconds })
    }

    /// How the limits stand as they were asked for: of two, as the stricter one.
    pub(crate) fn fold(&self, decision: Decision) -> Decision {
        let mut standings = decision.standings;
        let firsts = standings.len().saturating_sub(self.seconds.len());
        let seconds = standings.split_off(firsts);
        for (at, second) in self.seconds.iter().zip(seconds) {
            if let Some(first) = standings.get_mut(*at) {
                *first = stricter(first, &second);
            }
        }
        Decision { standings }
    }
}

fn stricter(one: &Standing, other: &Standing) -> Standing {
    Standing {
        limit: one.limit,
        used: one.used.max(other.used),
        reset: one.reset.max(other.reset),
        wait: one.wait.max(other.wait),
    }
}
