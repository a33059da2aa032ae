//! Rate limits over exact sliding windows, shared by all replicas through Redis and counted per process
//! while Redis is unavailable; and concurrency limits.

mod concurrency;
mod key;
mod limiter;
mod local;
pub mod metrics;
mod paired;
mod rate;
mod shared;

pub use concurrency::{ConcurrencyLimit, Slot, TooMany};
pub use key::{Key, network_of};
pub use limiter::{Decision, LimitCheck, LimitState, Limiter};
pub use rate::{Limit, Rate};
