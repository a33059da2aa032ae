//! CSRF tokens: the session's id and its HMAC. Nothing is stored, and a token is valid as long as the session.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crypto::MacRing;
use uuid::Uuid;

const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

/// The CSRF token of a session.
#[must_use]
pub fn csrf_token(macs: &MacRing, session: Uuid) -> String {
    let mut bytes = [0; ID_BYTES + TAG_BYTES];
    let (id, tag) = bytes.split_at_mut(ID_BYTES);
    id.copy_from_slice(session.as_bytes());
    tag.copy_from_slice(&macs.sign(&[id]));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The session of a CSRF token; `None` unless a key of the ring made it. Compares in constant time.
#[must_use]
pub fn session_of_csrf_token(macs: &MacRing, token: &[u8]) -> Option<Uuid> {
    let mut bytes = [0; ID_BYTES + TAG_BYTES];
    let length = BASE64_URL_SAFE_NO_PAD
        .decode_slice(token, &mut bytes)
        .ok()?;
    let (id, tag) = bytes[..length].split_at_checked(ID_BYTES)?;
    macs.verifies(id, tag)
        .then(|| Uuid::from_slice(id).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::Key32;

    fn ring(bytes: &[u8]) -> MacRing {
        let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
        MacRing::derived(&keys, "csrf token key")
    }

    #[test]
    fn a_token_names_its_session_and_is_good_under_a_key_of_the_ring_alone() {
        let [key, other, both] = [&[1][..], &[2], &[2, 1]].map(ring);
        let [ada, grace] = [1, 2].map(Uuid::from_u128);
        let made = csrf_token(&key, ada);
        assert_eq!(made.len(), 64);
        assert_eq!(made, csrf_token(&key, ada));
        assert_ne!(made, csrf_token(&key, grace));
        assert_eq!(session_of_csrf_token(&key, made.as_bytes()), Some(ada));
        assert_eq!(session_of_csrf_token(&both, made.as_bytes()), Some(ada));
        assert_eq!(session_of_csrf_token(&other, made.as_bytes()), None);
    }

    #[test]
    fn a_token_that_was_tampered_with_is_nobodys() {
        let key = ring(&[1]);
        let [ada, grace] = [1, 2].map(|id| csrf_token(&key, Uuid::from_u128(id)));
        let swapped = format!("{}{}", &grace[..22], &ada[22..]);
        for wrong in [
            "",
            "x",
            &ada[..22],
            &ada[..63],
            &format!("{ada}A"),
            &format!("{ada}AAAA"),
            &swapped,
            &ada.to_lowercase(),
            &"A".repeat(64),
        ] {
            assert_eq!(
                session_of_csrf_token(&key, wrong.as_bytes()),
                None,
                "{wrong}"
            );
        }
    }
}
