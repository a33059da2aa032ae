//! The service under faults: the real binary in a process of its own, while what is around it breaks.
//!
//! Run by `make test-faults`; `docs/faults.md` says which test holds what.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what its files share"
)]

mod harness;

mod database;
mod databases;
mod hostile;
mod limits;
mod logs;
mod mail;
mod metering;
mod migrations;
mod pooler_page;
mod pooler_restarts;
mod poolers;
mod proxies;
mod read_replicas;
mod redis;
mod replicas;
mod sessions;
mod shutdown;
mod stalled;
