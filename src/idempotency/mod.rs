//! Idempotency keys: a repeated POST with the same `Idempotency-Key` gets the stored reply, and its effect happens
//! once. Owns the table `idempotency_keys`. `docs/idempotency.md` has the rules for clients.
//!
//! - The middleware reserves the key for the request, under an id of its own (`holder`), and commits. A concurrent
//!   request with the key gets 409.
//! - The handler ends by [`Tx::commit_created`](crate::ctx::Tx::commit_created) or
//!   [`Tx::commit_ok`](crate::ctx::Tx::commit_ok), which write the reply into the reserved row in the transaction of
//!   the effect. So a crash at any moment leaves both or neither: no state in between has to be repaired.
//! - The row is written only while `holder` is the request's own and there is no reply. A request that was suspended
//!   for longer than its lease, and whose key another has taken over, rolls back instead of doing its effect twice.
//! - A request that ends without a stored reply (a refusal, an error, a client that disconnected) deletes its
//!   reservation, under the same condition: a commit that was sent before is waited for by the row lock, and found.
//! - After a crash the reservation remains for its lease, the request timeout and a minute. Then the next request
//!   takes it over, as one that had no effect.
//!
//! A handler that commits several times, or calls an outside service, ends by the same functions in its last
//! transaction; it must find what it has done before by the key or by rows of its own.

mod error;
mod jobs;
mod middleware;
mod model;
mod service;
mod store;

pub use jobs::{PurgeKeys as PurgeIdempotencyKeys, retained};
pub use middleware::replay_reply;
pub use store::ERASED;
