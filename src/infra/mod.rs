//! One file per outside service, and the clock and the randomness that the rest is given: whatever
//! the process cannot decide for itself enters here.

mod breaches;
mod cache;
mod cipher;
mod clock;
mod concurrency;
pub mod db;
mod hasher;
mod jwt;
mod limiter;
mod mac;
mod outbox;
mod redis;
mod remembered;
mod rng;
mod smtp;

pub use breaches::{Breaches, Unchecked};
pub use cache::{Cache, Family, LoadError};
pub use cipher::{Cipher, KeyId, NoKey, OpenError, Opened, Place, Sealed};
pub use clock::{Clock, ClockSample};
pub(crate) use clock::{after, before};
pub use concurrency::{ConcurrencyLimit, Slot, TooMany};
pub use db::{Db, begin};
pub use hasher::{Busy, HashError, Hasher, HashingCost, PasswordForm, PasswordForms};
pub use jwt::{BadKey, InvalidToken, PublicKey, TokenKeys};
pub use limiter::{Ask, Decision, Key as LimitKey, Limiter, Standing, network_of};
pub use mac::{Mac, MacRing};
pub use outbox::{Destination, Outbox};
pub use redis::{Redis, RedisError};
pub use rng::Rng;
pub use smtp::{Mailer, SendError};
