//! Counts by client network, with a bound for each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rate_limit::network_of;

/// How much of something each client network has; an IPv6 network is a /64.
#[derive(Clone, Debug)]
pub(super) struct PerClient(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    max: usize,
    by_network: Mutex<HashMap<IpAddr, usize>>,
}

impl PerClient {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Counts {
            max,
            by_network: Mutex::default(),
        }))
    }

    /// Counts `amount` for this client; `None` if that is more than it may have.
    pub(super) fn count(&self, client: IpAddr, amount: usize) -> Option<Counted> {
        let mut counted = Counted {
            counts: Arc::clone(&self.0),
            network: network_of(client),
            amount: 0,
        };
        counted.grow(amount).then_some(counted)
    }
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_network
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An amount that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    network: IpAddr,
    amount: usize,
}

impl Counted {
    /// Counts `more` as well, unless that is more than the client may have.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let mut by_network = self.counts.lock();
        let counted = by_network.get(&self.network).copied().unwrap_or(0);
        if counted.saturating_add(more) > self.counts.max {
            return false;
        }
        by_network.insert(self.network, counted + more);
        self.amount += more;
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut by_network = self.counts.lock();
        if let Entry::Occupied(mut entry) = by_network.entry(self.network) {
            *entry.get_mut() = entry.get().saturating_sub(self.amount);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_network_has_its_own_bound_and_gets_back_what_is_dropped() {
        let counts = PerClient::new(2);
        let first = counts.count(addr("203.0.113.9"), 1).unwrap();
        let _second = counts.count(addr("::ffff:203.0.113.9"), 1).unwrap();
        assert!(counts.count(addr("203.0.113.9"), 1).is_none());
        assert!(counts.count(addr("203.0.113.10"), 1).is_some());
        drop(first);
        assert!(counts.count(addr("203.0.113.9"), 1).is_some());
    }

    #[test]
    fn an_ipv6_network_is_a_64() {
        let counts = PerClient::new(1);
        let _one = counts.count(addr("2001:db8:1:2::1"), 1).unwrap();
        assert!(counts.count(addr("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(counts.count(addr("2001:db8:1:3::1"), 1).is_some());
    }

    #[test]
    fn a_network_that_has_none_is_forgotten() {
        let counts = PerClient::new(1);
        for host in 0..=255_u8 {
            drop(counts.count(IpAddr::from([203, 0, 113, host]), 1));
        }
        assert!(counts.0.lock().is_empty());
    }

    #[test]
    fn an_amount_that_does_not_fit_is_not_counted_in_part() {
        let counts = PerClient::new(10);
        let mut held = counts.count(addr("203.0.113.9"), 4).unwrap();
        assert!(!held.grow(7));
        assert!(!held.grow(usize::MAX));
        assert!(held.grow(6));
        assert!(counts.count(addr("203.0.113.9"), 1).is_none());
        drop(held);
        assert!(counts.count(addr("203.0.113.9"), 10).is_some());
    }
}
