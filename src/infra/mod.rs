//! Outside services, one file each, and re-exports of the crates below `crates/`.

mod breaches;

pub use breaches::{Breaches, Unchecked};
pub use cache::{Cache, CacheFamily, LoadError};
pub use clock::{Clock, ClockSample, Rng, after, before};
pub use crypto::{
    AssociatedData, BadKey, Busy, Cipher, HashError, Hasher, HasherOptions, HashingCost,
    InvalidToken, JwtKeys, KeyId, KeySet, Mac, MacRing, NewPassword, NoKey, OpenError,
    PasswordFault, PasswordForm, PasswordForms, Plaintext, Sealed, TriedPassword,
};
pub use database as db;
pub use database::{Db, begin};
pub use email_transport::{Mailer, SendError};
pub use rate_limit::{
    ConcurrencyLimit, Decision, Key as LimitKey, LimitCheck, LimitState, Limiter, Slot, TooMany,
    network_of,
};
pub use redis_client::{Redis, RedisError};
pub use session_tokens::{
    AccessTokenOptions, AccessTokens, OpaqueToken, Position, ROTATIONS_KEPT, RevocationList,
    RevocationPage, RevocationStatus, RevokedSessions, SessionToken, TokenHash, TokenUse, classify,
    csrf_token, session_of_csrf_token,
};
