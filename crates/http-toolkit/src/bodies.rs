//! Limits on request bodies in transit: number per client, and memory of all.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::code::ProblemCode;
use crate::config::HttpConfig;
use crate::metrics;
use crate::per_client::{Counted, PerClient};
use crate::problem::Problem;

/// The part of the memory that the bodies of one client network may take.
const SHARE: usize = 8;
/// Grows from here by doubling, so that a body of many small parts is copied a few times only.
const FIRST_CAPACITY: usize = 1024;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bodies that are being received. A body that arrived with its head does not count.
#[derive(Debug)]
pub(super) struct Bodies {
    in_flight: PerClient,
    memory: Arc<Semaphore>,
    memory_by_client: PerClient,
}

impl Bodies {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self {
            in_flight: PerClient::new(config.max_bodies_per_client),
            memory: Arc::new(Semaphore::new(config.body_memory)),
            memory_by_client: PerClient::new(config.body_memory / SHARE),
        }
    }

    /// Counts a body that is waited for, until it is dropped.
    pub(super) fn wait_for(&self, client: IpAddr) -> Result<Counted, Problem> {
        self.in_flight.count(client, 1).ok_or_else(|| {
            metrics::count_refused("bodies");
            Problem::new(ProblemCode::RATE_LIMITED)
                .detail("too many requests of this network wait for their bodies")
                .retry_after(RETRY_AFTER)
                .closing()
        })
    }

    /// Reserves memory for a body; `None` if there is not so much.
    pub(super) fn reserve(&self, bytes: usize, client: IpAddr) -> Option<Reserved> {
        Some(Reserved {
            of_all: self.memory_of_all(bytes)?,
            of_client: self.memory_by_client.count(client, bytes)?,
        })
    }

    fn memory_of_all(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        Arc::clone(&self.memory)
            .try_acquire_many_owned(permits)
            .ok()
    }
}

pub(super) fn no_memory() -> Problem {
    metrics::count_refused("body_memory");
    Problem::new(ProblemCode::BUSY)
        .retry_after(RETRY_AFTER)
        .closing()
}

/// A body as it is put together. Its parts are copied: each of them would otherwise keep the whole
/// buffer that it was read into, 8 KiB for a single byte.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    limit: usize,
    reserved: Option<Reserved>,
}

/// Memory permits, released on drop.
#[derive(Debug)]
pub(super) struct Reserved {
    of_all: OwnedSemaphorePermit,
    of_client: Counted,
}

impl Whole {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            reserved: None,
        }
    }

    pub(super) fn exceeds_limit(&self, part: &[u8]) -> bool {
        self.bytes.len() + part.len() > self.limit
    }

    /// Adds a part, unless there is no memory for it.
    pub(super) fn add(
        &mut self,
        part: &[u8],
        bodies: Option<(&Bodies, IpAddr)>,
    ) -> Result<(), Problem> {
        let needed = self.bytes.len() + part.len();
        if needed > self.bytes.capacity() {
            let doubled = (2 * self.bytes.capacity()).max(FIRST_CAPACITY);
            let capacity = needed.max(doubled.min(self.limit));
            let more = capacity - self.bytes.capacity();
            if let Some((bodies, client)) = bodies {
                self.reserve(more, bodies, client).ok_or_else(no_memory)?;
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    fn reserve(&mut self, more: usize, bodies: &Bodies, client: IpAddr) -> Option<()> {
        if let Some(reserved) = &mut self.reserved {
            let permit = bodies.memory_of_all(more)?;
            reserved.of_client.grow(more).then_some(())?;
            reserved.of_all.merge(permit);
        } else {
            self.reserved = Some(bodies.reserve(more, client)?);
        }
        Some(())
    }

    /// The whole body. Its memory counts until nobody has it any more.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack_test::config;

    const ADA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 10));

    fn bodies(memory: usize) -> Bodies {
        let mut config = config();
        config.body_memory = memory;
        Bodies::new(&config)
    }

    /// Adds kibibytes until one is refused; returns how many were taken, and the refusal's status.
    fn fill(bodies: &Bodies, client: IpAddr) -> (Whole, usize, u16) {
        let mut whole = Whole::new(1024 * 1024);
        for kib in 0.. {
            if let Err(problem) = whole.add(&[0; 1024], Some((bodies, client))) {
                return (whole, kib, problem.code().status().as_u16());
            }
        }
        unreachable!("the memory is bounded")
    }

    #[test]
    fn one_client_takes_its_share_of_the_memory_and_all_of_them_no_more_than_there_is() {
        let bodies = bodies(64 * 1024);
        let (first, kib, status) = fill(&bodies, ADA);
        assert_eq!((kib, status), (8, 503));
        let (second, kib, _) = fill(&bodies, BOB);
        assert_eq!(kib, 8, "another client has its own share");
        drop((first, second));
        let all: Vec<_> = (1..=9)
            .map(|host| fill(&bodies, IpAddr::from([198, 51, 100, host])))
            .collect();
        let taken: usize = all.iter().map(|(_, kib, _)| kib).sum();
        assert_eq!(taken, 64);
    }

    #[test]
    fn memory_counts_until_the_last_holder_of_the_body_is_gone() {
        let bodies = bodies(64 * 1024);
        let (whole, kib, _) = fill(&bodies, ADA);
        let bytes = whole.into_bytes();
        assert_eq!(bytes.len(), kib * 1024);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(fill(&bodies, ADA).1, 0);
        drop(part);
        assert_eq!(fill(&bodies, ADA).1, 8);
    }

    #[test]
    fn a_refused_part_leaves_the_counts_as_they_were() {
        let bodies = bodies(64 * 1024);
        drop(fill(&bodies, ADA));
        assert_eq!(bodies.memory.available_permits(), 64 * 1024);
        assert!(bodies.memory_by_client.count(ADA, 8 * 1024).is_some());
    }
}
