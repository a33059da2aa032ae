//! One file per outside service, and the clock and the randomness that the rest is given: whatever
//! the process cannot decide for itself enters here.

mod breaches;
mod cache;
mod concurrency;
mod denylist;
mod jwt;
mod last_seen;
mod limiter;
mod meter;
mod outbox;
mod remembered;
mod turns;

pub use breaches::{Breaches, Unchecked};
pub use cache::{Cache, Family, LoadError};
pub use clock::{Clock, ClockSample, Rng, after, before};
pub use concurrency::{ConcurrencyLimit, Slot, TooMany};
pub use crypto::{
    AssociatedData, BadKey, Busy, Cipher, HashError, Hasher, HasherOptions, HashingCost,
    InvalidToken, KeyId, Mac, MacRing, NoKey, OpenError, PasswordForm, PasswordForms, Plaintext,
    PublicKey, Sealed,
};
pub use database as db;
pub use database::{Db, begin};
pub use denylist::{Denied, Denylist, Verdict};
pub use email_transport::{Mailer, SendError};
pub use jwt::TokenKeys;
pub use last_seen::LastSeen;
pub use limiter::{Ask, Decision, Key as LimitKey, Limiter, Standing, network_of};
pub use meter::{Endpoint, Key as MeterKey, Meter, Names as EndpointNames, Outgoing, Sum};
pub use outbox::{Destination, Outbox};
pub use redis_client::{Redis, RedisError};
pub use turns::{Turn, Turns};
