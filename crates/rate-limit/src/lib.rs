//! Rate limits over exact sliding windows, shared by all replicas through Redis and counted per process
//! while Redis is unavailable; lockouts after failures; and concurrency limits.

mod attempt_slots;
mod concurrency;
mod deferred;
mod key;
mod lane;
mod limiter;
mod local;
mod lockout;
mod lockout_steps;
pub mod metrics;
mod paired;
mod rate;
mod replicas;
mod shared;
mod window;

pub use attempt_slots::{AttemptSlot, AttemptSlots};
pub use concurrency::{ConcurrencyLimit, Slot, TooMany};
pub use key::{Key, network_of};
pub use limiter::{Decision, LimitCheck, LimitState, Limiter};
pub use lockout::{Counter, CounterState};
pub use lockout_steps::LockoutSteps;
pub use rate::{Limit, Rate};
