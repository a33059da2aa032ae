//! Encryption at rest, HMAC, signed tokens, password rules and password hashing, each under a ring of keys of which the
//! first is used and all are recognised.

mod api_key;
mod cipher;
mod digest;
mod hasher;
mod jwt;
mod key;
mod mac;
pub mod metrics;
mod password;
mod read_password;
mod rotation;

pub use api_key::{GeneratedApiKey, PresentedApiKey, SecretHash};
pub use cipher::{AssociatedData, Cipher, KeyId, NoKey, OpenError, Plaintext, Sealed};
pub use digest::sha256;
pub use hasher::{
    Busy, HashError, Hasher, HasherOptions, HasherSettings, HashingCost, PasswordForm,
    PasswordForms,
};
pub use jwt::{BadKey, InvalidToken, JwtKeys, KeySet, PublicKey};
pub use key::{Key32, WEAK_KEY};
pub use mac::{Mac, MacRing};
pub use password::{NewPassword, PasswordFault, TriedPassword};
pub use read_password::read_password;
pub use rotation::{KeyRing, KeyUsage, Rotated, RotationError, Step};
