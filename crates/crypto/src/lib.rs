//! Encryption at rest, HMAC, signed tokens, password rules and password hashing, each under a ring of keys of which the
//! first is used and all are recognised.

mod cipher;
mod hasher;
mod jwt;
mod key;
mod mac;
pub mod metrics;
mod password;

pub use cipher::{AssociatedData, Cipher, KeyId, NoKey, OpenError, Plaintext, Sealed};
pub use hasher::{
    Busy, HashError, Hasher, HasherOptions, HashingCost, PasswordForm, PasswordForms,
};
pub use jwt::{BadKey, InvalidToken, JwtKeys, KeySet, PublicKey};
pub use key::Key32;
pub use mac::{Mac, MacRing};
pub use password::{NewPassword, PasswordFault, TriedPassword};
