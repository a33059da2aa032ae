//! A sliding window of this process, as `window.lua` keeps it in Redis.

use std::collections::VecDeque;
use std::time::Duration;

use crate::deferred::Deferral;
use crate::lane::micros;
use crate::{Limit, LimitState};

/// Times at which a limit was spent, oldest first.
#[derive(Default)]
pub(crate) struct Log {
    times: VecDeque<u64>,
    window: u64,
    pub(crate) deferral: Deferral,
}

impl Log {
    /// Returns whether it differs from that of an unknown key.
    pub(crate) fn is_live(&self, now: u64) -> bool {
        let newest = self.times.back();
        newest.is_some_and(|time| time.saturating_add(self.window) > now)
            || self.deferral.is_live(now)
    }

    fn expire(&mut self, window: u64, now: u64) {
        while let Some(oldest) = self.times.front()
            && oldest.saturating_add(window) <= now
        {
            self.times.pop_front();
        }
    }

    pub(crate) fn state(&mut self, limit: Limit, now: u64) -> LimitState {
        let window = micros(limit.window());
        self.expire(window, now);
        let until = |time: u64| Duration::from_micros((time + window).saturating_sub(now));
        let used = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        let over = used.checked_sub(limit.max());
        let blocking = over.and_then(|over| self.times.get(over as usize));
        LimitState {
            limit,
            used,
            reset: self
                .times
                .front()
                .map_or(limit.window(), |time| until(*time)),
            wait: blocking.map(|time| until(*time)),
        }
    }

    pub(crate) fn spend(&mut self, limit: Limit, now: u64) -> LimitState {
        let before = self.state(limit, now);
        self.window = micros(limit.window());
        // Requests may arrive in another order than they began.
        let earlier = self.times.iter().rposition(|time| *time <= now);
        self.times.insert(earlier.map_or(0, |at| at + 1), now);
        if self.times.len() > limit.max() as usize {
            self.times.pop_front();
        }
        LimitState {
            wait: before.wait,
            ..self.state(limit, now)
        }
    }

    /// Stores a state of Redis.
    pub(crate) fn learn(&mut self, state: &LimitState, now: u64) {
        self.window = micros(state.limit.window());
        self.deferral.learn(state, now);
    }
}
