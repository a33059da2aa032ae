//! Clients of outside services, clock and randomness: re-exports of crates.

pub use cache::{Cache, CacheFamily, LoadError};
pub use clock::{Clock, ClockSample, Rng, after, before};
pub use crypto::{
    AssociatedData, BadKey, Busy, Cipher, HashError, Hasher, HasherOptions, HashingCost,
    InvalidToken, JwtKeys, KeyId, Mac, MacRing, NoKey, OpenError, PasswordForm, PasswordForms,
    Plaintext, PublicKey, Sealed,
};
pub use database as db;
pub use database::{Db, begin};
pub use email_transport::{Mailer, SendError};
pub use password_checks::{Breaches, ContextWords, Unchecked};
pub use rate_limit::{
    AttemptSlot, AttemptSlots, ConcurrencyLimit, Counter, CounterState, Decision, Key as LimitKey,
    LimitCheck, LimitState, Limiter, LockoutSteps, Slot, TooMany, network_of,
};
pub use redis_client::{Redis, RedisError};
