//! 50 replicas on one PostgreSQL with a million users: the statements that they send by themselves, by kind.
//!
//! Run by `make scale-test`; `docs/scale.md` has the figures.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what its files share"
)]

/// Processes and settings of the tests of faults.
#[path = "../faults"]
mod faults {
    #[expect(dead_code, unused_imports, reason = "the tests of faults use the rest")]
    pub mod harness;
}

use faults::harness;

mod kinds;
mod replicas;
mod statements;
mod world;
