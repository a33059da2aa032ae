//! Clients of outside services, clock and randomness: re-exports of crates.

pub use cache::{Cache, CacheFamily, LoadError};
pub use clock::{Clock, ClockSample, Month, Rng, after, before, uuid_v7_time};
pub use crypto::{
    AssociatedData, BadKey, Busy, Cipher, GeneratedApiKey, HashError, Hasher, InvalidToken,
    JwtKeys, KeyId, KeySet, Mac, MacRing, NewPassword, NoKey, OpenError, PasswordFault,
    PasswordForm, PasswordForms, Plaintext, PresentedApiKey, Sealed, SecretHash, TriedPassword,
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
pub use session_tokens::{
    AccessTokenOptions, AccessTokens, OpaqueToken, Position, ROTATIONS_KEPT, RevocationList,
    RevocationPage, RevocationStatus, RevokedSessions, SessionToken, TokenHash, TokenUse, classify,
    csrf_token, session_of_csrf_token,
};
