//! One file per outside service, and the clock and the randomness that the rest is given: whatever
//! the process cannot decide for itself enters here.

mod breaches;
mod cache;
mod cipher;
mod clock;
mod concurrency;
pub mod db;
#[path = "../auth/sessions/revocation_list.rs"]
mod denylist;
mod hasher;
mod jwt;
#[path = "../api_keys/last_seen.rs"]
mod last_seen;
mod limiter;
mod mac;
#[path = "../usage/meter.rs"]
mod meter;
mod outbox;
mod redis;
mod remembered;
mod rng;
mod smtp;
#[path = "../auth/sign_in/attempt_slots.rs"]
mod turns;

pub use breaches::{Breaches, Unchecked};
pub use cache::{Cache, Family, LoadError};
pub use cipher::{Cipher, KeyId, NoKey, OpenError, Opened, Place, Sealed};
pub use clock::{Clock, ClockSample};
pub(crate) use clock::{after, before};
pub use concurrency::{ConcurrencyLimit, Slot, TooMany};
pub use db::{Db, begin};
pub use denylist::{Denied, Denylist, Verdict};
pub use hasher::{Busy, HashError, Hasher, HashingCost, PasswordForm, PasswordForms};
pub use jwt::{BadKey, InvalidToken, PublicKey, TokenKeys};
pub use last_seen::LastSeen;
pub use limiter::{Ask, Decision, Key as LimitKey, Limiter, Standing, network_of};
pub use mac::{Mac, MacRing};
pub use meter::{Endpoint, Key as MeterKey, Meter, Names as EndpointNames, Outgoing, Sum};
pub use outbox::{Destination, Outbox};
pub use redis::{Redis, RedisError};
pub use rng::Rng;
pub use smtp::{Mailer, SendError};
pub use turns::{Turn, Turns};
