//! Token of a link that unsubscribes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crypto::{Mac, MacRing};
use uuid::Uuid;

use crate::consents::OptionalKind;
use crate::ids::UserId;

/// Token of a link that disables one kind of email to one address: kind, user, and a MAC over both and the address.
///
/// The project has no secrets in URLs, since proxies log them. This one must be in the path (RFC 8058), and it may: it signs
/// nobody in, shows nothing, and all that it can do is what its email offers to everybody who reads it. It has no time of
/// expiry, so that old emails can be ended too. It is void when the address changes, and when the key that it was made
/// under is no longer listed in `TOKEN_SECRET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubscribeToken {
    pub(super) kind: OptionalKind,
    pub(super) user_id: UserId,
    mac: Mac,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of a link that unsubscribes")]
pub struct Malformed;

impl UnsubscribeToken {
    /// `address` is in lower case, as that of a user.
    #[must_use]
    pub fn new(macs: &MacRing, kind: OptionalKind, user_id: UserId, address: &str) -> Self {
        let mac = macs.sign(&[&message(kind, user_id, address)]);
        Self { kind, user_id, mac }
    }

    /// Returns whether the token was made for this address. Takes constant time.
    #[must_use]
    pub fn is_for(&self, macs: &MacRing, address: &str) -> bool {
        macs.verifies(&message(self.kind, self.user_id, address), &self.mac)
    }
}

/// Kinds and ids have no NUL, and ids one length, so that no two triples make the same message.
fn message(kind: OptionalKind, user_id: UserId, address: &str) -> Vec<u8> {
    let parts: [&[u8]; 4] = [
        kind.as_str().as_bytes(),
        b"\0",
        user_id.0.as_bytes(),
        address.as_bytes(),
    ];
    parts.concat()
}

impl fmt::Display for UnsubscribeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.user_id.0.as_bytes().as_slice(), &self.mac].concat();
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        write!(f, "{}.{text}", self.kind.as_str())
    }
}

impl FromStr for UnsubscribeToken {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (kind, text) = text.split_once('.').ok_or(Malformed)?;
        let kinds = OptionalKind::ALL.iter();
        let kind = kinds.copied().find(|it| it.as_str() == kind);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed)?;
        let (id, mac) = bytes.split_at_checked(16).ok_or(Malformed)?;
        Ok(Self {
            kind: kind.ok_or(Malformed)?,
            user_id: UserId(Uuid::from_slice(id).map_err(|_| Malformed)?),
            mac: mac.try_into().map_err(|_| Malformed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use crypto::Key32;

    use super::*;

    const ADA: &str = "ada@example.com";
    const ID: UserId = UserId(Uuid::from_u128(7));

    fn ring(bytes: &[u8]) -> MacRing {
        let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
        MacRing::derived(&keys, "unsubscribe link key")
    }

    #[test]
    fn a_token_is_for_one_kind_user_and_address() {
        let macs = ring(&[1]);
        let token = UnsubscribeToken::new(&macs, OptionalKind::ProductNews, ID, ADA);
        assert!(token.is_for(&macs, ADA));
        assert!(!token.is_for(&macs, "ada@example.org"));
        let other_kind = UnsubscribeToken {
            kind: OptionalKind::UsageSummary,
            ..token
        };
        assert!(!other_kind.is_for(&macs, ADA));
        let other_user = UnsubscribeToken {
            user_id: UserId(Uuid::from_u128(8)),
            ..token
        };
        assert!(!other_user.is_for(&macs, ADA));
    }

    #[test]
    fn a_token_outlives_the_rotation_of_its_key_until_that_is_dropped() {
        let [before, during, after] = [&[1][..], &[2, 1], &[2]].map(ring);
        let token = UnsubscribeToken::new(&before, OptionalKind::ProductNews, ID, ADA);
        assert!(token.is_for(&during, ADA));
        assert!(!token.is_for(&after, ADA));
    }

    #[test]
    fn every_other_text_is_malformed_or_for_nobody() {
        let macs = ring(&[1]);
        let token = UnsubscribeToken::new(&macs, OptionalKind::ProductNews, ID, ADA);
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token));
        assert!(text.len() < 90, "{text}");
        let is_good = |text: &str| {
            let token = text.parse::<UnsubscribeToken>();
            token.is_ok_and(|token| token.is_for(&macs, ADA))
        };
        for end in 0..text.len() {
            assert!(!is_good(&text[..end]), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).expect("it is ASCII");
            assert!(!is_good(&changed), "changed at {at}");
        }
        for suffix in ["A", "=", ".", "\0", " "] {
            assert!(!is_good(&format!("{text}{suffix}")), "{suffix:?}");
        }
    }
}
