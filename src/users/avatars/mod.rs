//! Pictures of users. Owns the table `avatars`, the routes `/users/me/avatar` and `/avatars/{id}`, and the objects below
//! `avatars/` of the bucket.
//!
//! - What a user sends is decoded and re-encoded, so that only pixels are stored: no metadata, no other content.
//! - The address has a random id, which stays the same until the user removes the picture. Each picture is a new object.

mod error;
mod model;
mod routes;
mod service;
mod store;
mod sweep;

pub use model::{AVATARS, avatar_prefix_of};
pub use routes::{avatar_routes, public_avatar_routes};
pub use service::{find_key as find_avatar_key, list_known_keys as list_known_avatars};
pub use sweep::{SweepError, sweep};
