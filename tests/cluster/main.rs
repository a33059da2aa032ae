//! The service on clusters: PostgreSQL under Patroni while its primary fails, and a Redis Cluster.
//!
//! Run by `make test-cluster`; `docs/scale/failover.md` describes the set-up and what was measured.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what its files share"
)]

/// Processes and measurements of the tests of faults.
#[path = "../faults"]
mod faults {
    #[expect(dead_code, unused_imports, reason = "the tests of faults use the rest")]
    pub mod harness;
}

use faults::harness;

mod clients;
mod failover;
mod reads;
mod redis;
mod standby;
mod world;
