//! Tokens of signed-in sessions: access tokens (JWT), rotating refresh tokens with detection of reuse, CSRF
//! tokens, one-time tokens, and a revocation list. It stores nothing: the caller keeps hashes and positions.

mod access;
mod csrf;
mod opaque;
mod refresh;
mod revocation_list;
mod rotation;
mod watch;

pub use access::{AccessClaims, AccessTokenOptions, AccessTokens};
pub use csrf::{csrf_token, session_of_csrf_token};
pub use opaque::{OpaqueToken, TokenHash};
pub use refresh::SessionToken;
pub use revocation_list::{RevocationList, RevocationStatus, RevokedSessions};
pub use rotation::{ROTATIONS_KEPT, TokenUse, classify};
pub use watch::{Position, RevocationPage};
