//! Refresh tokens: the session's id and generation, a random seed, and a tag that binds them.
//!
//! The database holds the hash of the current token, the token's holder the seed, and
//! `TOKEN_SECRET` makes the tag. So no token can be made of the database, of the key, or of both; and
//! a client that has a token of the session gets the same current one, on every replica and at each try.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clock::Rng;
use crypto::MacRing;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::TokenHash;

const ID: usize = 16;
const GENERATION: usize = 4;
const SEED: usize = 32;
const TAG: usize = 32;
const MESSAGE: usize = ID + GENERATION + SEED;
const BYTES: usize = MESSAGE + TAG;

/// One generation of a session's refresh token.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<[u8; BYTES]>);

impl SessionToken {
    /// Length of the text form, in base64url.
    pub const CHARACTERS: usize = 112;

    /// The first token of a new session.
    #[must_use]
    pub fn first(macs: &MacRing, session: Uuid, rng: &Rng) -> Self {
        Self::issue(macs, session, 0, &Zeroizing::new(rng.bytes()))
    }

    /// The token of a generation, signed by the ring's first key.
    #[must_use]
    pub fn issue(macs: &MacRing, session: Uuid, generation: i32, seed: &[u8; SEED]) -> Self {
        let message = message(session, generation, seed);
        Self::join(&message, &macs.sign(&[&*message]))
    }

    /// The token of a generation that has this hash, under whichever key of the ring made it.
    #[must_use]
    pub fn find(
        macs: &MacRing,
        session: Uuid,
        generation: i32,
        seed: &[u8; SEED],
        hash: TokenHash,
    ) -> Option<Self> {
        let message = message(session, generation, seed);
        let parts: [&[u8]; 1] = [&*message];
        let mut tokens = macs
            .sign_by_each(&parts)
            .map(|tag| Self::join(&message, &tag));
        tokens.find(|token| token.hash() == hash)
    }

    /// The token of the next generation.
    #[must_use]
    pub fn next(&self, macs: &MacRing) -> Self {
        let next = self.generation().saturating_add(1);
        Self::issue(macs, self.session(), next, self.seed())
    }

    fn join(message: &[u8; MESSAGE], tag: &[u8; TAG]) -> Self {
        let mut bytes = Zeroizing::new([0; BYTES]);
        bytes[..MESSAGE].copy_from_slice(message);
        bytes[MESSAGE..].copy_from_slice(tag);
        Self(bytes)
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> Uuid {
        Uuid::from_bytes(self.part(0))
    }

    /// The generation, from 0.
    #[must_use]
    pub fn generation(&self) -> i32 {
        i32::from_be_bytes(self.part(ID))
    }

    /// Seed that all tokens of the session share, and that the database does not have.
    ///
    /// # Panics
    /// Never: it is within the token.
    #[must_use]
    pub fn seed(&self) -> &[u8; SEED] {
        let seed = self.0[ID + GENERATION..].first_chunk();
        seed.expect("the seed is part of the token")
    }

    fn part<const N: usize>(&self, from: usize) -> [u8; N] {
        let part = self.0[from..].first_chunk();
        *part.expect("the part is within the token")
    }

    /// Returns whether a key of the ring made its tag; compares in constant time.
    #[must_use]
    pub fn is_genuine(&self, macs: &MacRing) -> bool {
        let (message, tag) = self.0.split_at(MESSAGE);
        macs.verifies(message, tag)
    }

    /// SHA-256 of the whole token: all that is stored of it.
    ///
    /// # Panics
    /// Never: SHA-256 has 32 bytes.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let hash = digest(&SHA256, &*self.0);
        TokenHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Text form.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(*self.0)
    }
}

fn message(session: Uuid, generation: i32, seed: &[u8; SEED]) -> Zeroizing<[u8; MESSAGE]> {
    let mut message = Zeroizing::new([0; MESSAGE]);
    message[..ID].copy_from_slice(session.as_bytes());
    message[ID..ID + GENERATION].copy_from_slice(&generation.to_be_bytes());
    message[ID + GENERATION..].copy_from_slice(seed);
    message
}

impl TryFrom<String> for SessionToken {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let raw = Zeroizing::new(raw);
        let mut bytes = Zeroizing::new([0; BYTES]);
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(raw.as_bytes(), &mut *bytes);
        (decoded == Ok(BYTES))
            .then_some(Self(bytes))
            .ok_or("must be a token issued by this service")
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::Key32;

    fn ring(bytes: &[u8]) -> MacRing {
        let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
        MacRing::derived(&keys, "refresh token")
    }

    fn first(macs: &MacRing) -> SessionToken {
        SessionToken::first(macs, Uuid::from_u128(7), &Rng::seeded(1))
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_shows_nothing_in_a_log() {
        let token = first(&ring(&[1]));
        let text = token.encode();
        assert_eq!(text.len(), SessionToken::CHARACTERS);
        let read = SessionToken::try_from(text.clone()).expect("it is a token");
        assert_eq!((read.session(), read.generation()), (token.session(), 0));
        assert_eq!(read.hash(), token.hash());
        assert!(!format!("{read:?}").contains(&text[30..]));
        for wrong in [
            "",
            &text[1..],
            &format!("{text}A"),
            &format!("{}!", &text[1..]),
            &"A".repeat(43),
        ] {
            assert!(SessionToken::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_whose_parts_are_changed_is_not_genuine() {
        let macs = ring(&[1]);
        let token = first(&macs);
        assert!(token.is_genuine(&macs) && token.next(&macs).is_genuine(&macs));
        for at in [
            0,
            ID,
            ID + GENERATION - 1,
            ID + GENERATION,
            MESSAGE,
            BYTES - 1,
        ] {
            let mut changed = token.clone();
            changed.0[at] ^= 1;
            assert!(!changed.is_genuine(&macs), "byte {at}");
            assert_ne!(changed.hash(), token.hash(), "byte {at}");
        }
    }

    #[test]
    fn the_successor_is_the_same_for_everybody_and_differs_by_generation_and_key() {
        let [before, during] = [ring(&[1]), ring(&[2, 1])];
        let token = first(&before);
        let next = token.next(&before);
        assert_eq!(next.generation(), 1);
        assert_eq!(next.hash(), token.next(&before).hash());
        assert_ne!(next.hash(), token.hash());
        assert_ne!(next.hash(), token.next(&during).hash());
        assert!(next.is_genuine(&during));
        let found = |ring: &MacRing, hash| {
            let seed = token.seed();
            SessionToken::find(ring, token.session(), 1, seed, hash)
        };
        assert_eq!(
            found(&during, next.hash()).map(|it| it.encode()),
            Some(next.encode())
        );
        assert!(found(&before, token.next(&during).hash()).is_none());
        assert!(found(&during, token.hash()).is_none());
    }
}
