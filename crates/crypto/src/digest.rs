//! SHA-256, for values that are not guessable or not secret.

use aws_lc_rs::digest::{SHA256, digest};

#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = digest(&SHA256, bytes);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
