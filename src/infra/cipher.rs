//! Values sealed at rest: XChaCha20-Poly1305 under a ring of keys of which the first seals and all
//! open. A sealed value carries the id of its key and is bound to its place, so that it opens in
//! no other row or column.
//!
//! The layout: version (1 byte), key id (8), nonce (24), ciphertext with its tag (16 more).

use aws_lc_rs::hmac;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Rng;
use crate::config::Key32;

const VERSION: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;
const HEADER: usize = 1 + ID + NONCE;

/// The ring of keys that values are sealed under.
pub struct Cipher {
    first: Member,
    older: Vec<Member>,
    rng: Rng,
}

struct Member {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// Which key a value is sealed under: a fingerprint that tells nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; ID]);

/// Where a sealed value stands. It opens there and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// What tells the row from all others, and whose it is: the ids in its key and its owner's.
    pub row: &'a [Uuid],
}

/// A sealed value, as the database keeps it.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Sealed(Vec<u8>);

/// A value that was opened; wiped when it is dropped, and never printed.
pub struct Opened(Zeroizing<Vec<u8>>);

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed under a key that is not in the ring.
    #[error("a value is sealed under a key that ENCRYPTION_KEYS does not have")]
    UnknownKey,
    /// It was changed, or does not belong where it stands.
    #[error("a sealed value was changed, or moved from another place")]
    Damaged,
}

/// There is no key in `ENCRYPTION_KEYS`.
#[derive(Debug, thiserror::Error)]
#[error("there is no key")]
pub struct NoKey;

impl Cipher {
    /// The cipher of this ring: the first key seals, all open.
    pub fn new(keys: &[Key32], rng: Rng) -> Result<Self, NoKey> {
        let (first, older) = keys.split_first().ok_or(NoKey)?;
        Ok(Self {
            first: Member::new(first),
            older: older.iter().map(Member::new).collect(),
            rng,
        })
    }

    /// Seals a value for one place.
    ///
    /// # Panics
    /// When the value is longer than 256 GiB, which the algorithm cannot seal.
    #[must_use]
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Sealed {
        // 192 random bits: no two values ever share them (draft-irtf-cfrg-xchacha §2.1).
        let nonce: [u8; NONCE] = self.rng.bytes();
        let mut text = Zeroizing::new(Vec::with_capacity(value.len() + TAG));
        text.extend_from_slice(value);
        self.first
            .cipher
            .encrypt_in_place(&nonce.into(), &place.bound_to(self.first.id), &mut *text)
            .expect("a value is shorter than 256 GiB");
        Sealed([&[VERSION], &self.first.id.0[..], &nonce, &text].concat())
    }

    /// Opens a value that was sealed for this place.
    pub fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Opened, OpenError> {
        let id = sealed.key_id().ok_or(OpenError::Damaged)?;
        let member = std::iter::once(&self.first)
            .chain(&self.older)
            .find(|member| member.id == id)
            .ok_or(OpenError::UnknownKey)?;
        let (header, text) = sealed.0.split_at(HEADER);
        let nonce = <[u8; NONCE]>::try_from(&header[1 + ID..]).map_err(|_| OpenError::Damaged)?;
        let mut text = Zeroizing::new(text.to_vec());
        member
            .cipher
            .decrypt_in_place(&nonce.into(), &place.bound_to(id), &mut *text)
            .map_err(|_| OpenError::Damaged)?;
        Ok(Opened(text))
    }

    /// The key that seals from now on.
    #[must_use]
    pub fn sealing_key(&self) -> KeyId {
        self.first.id
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher([redacted])")
    }
}

impl Member {
    fn new(key: &Key32) -> Self {
        Self {
            id: KeyId::of(key),
            cipher: XChaCha20Poly1305::new(key.expose().into()),
        }
    }
}

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of(key: &Key32) -> Self {
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
            b"encryption key id",
        );
        let mut id = [0; ID];
        id.copy_from_slice(&tag.as_ref()[..ID]);
        Self(id)
    }

    /// The id as it stands in a sealed value, from its second byte on.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Place<'_> {
    /// What the value is bound to. Each part tells its length, so that no two places read alike.
    fn bound_to(&self, key: KeyId) -> Vec<u8> {
        let mut bound = vec![VERSION];
        bound.extend_from_slice(&key.0);
        let row: Vec<u8> = self.row.iter().flat_map(Uuid::as_bytes).copied().collect();
        for part in [self.table.as_bytes(), self.column.as_bytes(), &row] {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part);
        }
        bound
    }
}

impl Sealed {
    /// Which key it is sealed under; nothing when it is no sealed value of ours.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        let whole = self.0.len() >= HEADER + TAG && self.0[0] == VERSION;
        let id = self.0.get(1..).and_then(<[u8]>::first_chunk)?;
        whole.then_some(KeyId(*id))
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed([redacted])")
    }
}

impl Opened {
    /// The value, for whoever needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const GRACE: Uuid = Uuid::from_u128(2);

    fn place(row: &[Uuid]) -> Place<'_> {
        Place {
            table: "secrets",
            column: "value",
            row,
        }
    }

    /// A ring of keys that are each of one byte.
    fn ring(keys: &[u8]) -> Cipher {
        let keys: Vec<_> = keys.iter().map(|byte| Key32::new([*byte; 32])).collect();
        Cipher::new(&keys, Rng::seeded(7)).expect("there is a key")
    }

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let cipher = ring(&[1]);
        let sealed = cipher.seal(&place(&[ADA]), b"hunter2");
        let open = |place: &Place<'_>| {
            let opened = cipher.open(place, &sealed)?;
            Ok(opened.expose().to_vec())
        };
        assert_eq!(open(&place(&[ADA])), Ok(b"hunter2".to_vec()));
        let own: &[Uuid] = &[ADA];
        let elsewhere = [
            place(&[GRACE]),
            place(&[ADA, ADA]),
            place(&[]),
            Place {
                column: "name",
                ..place(own)
            },
            Place {
                table: "files",
                ..place(own)
            },
            // The same letters, parted elsewhere.
            Place {
                table: "secretsv",
                column: "alue",
                row: own,
            },
        ];
        for other in elsewhere {
            assert_eq!(open(&other), Err(OpenError::Damaged), "{other:?}");
        }
    }

    #[test]
    fn no_byte_can_be_changed_and_none_can_be_missing() {
        let cipher = ring(&[1]);
        let sealed = cipher.seal(&place(&[ADA]), b"hunter2");
        for at in 0..sealed.0.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed.0[at] ^= 1 << bit;
                let error = cipher.open(&place(&[ADA]), &changed).unwrap_err();
                let in_id = (1..=ID).contains(&at);
                assert_eq!(error == OpenError::UnknownKey, in_id, "byte {at}");
            }
            let short = Sealed(sealed.0[..at].to_vec());
            assert!(cipher.open(&place(&[ADA]), &short).is_err(), "{at} bytes");
        }
        let long = Sealed([&sealed.0[..], &[0]].concat());
        assert!(cipher.open(&place(&[ADA]), &long).is_err());
    }

    #[test]
    fn an_older_key_still_opens_and_a_foreign_one_never() {
        let before = ring(&[1]).seal(&place(&[ADA]), b"hunter2");
        let rotated = ring(&[2, 1]);
        let opened = rotated.open(&place(&[ADA]), &before);
        assert_eq!(opened.expect("it opens").expose(), b"hunter2");
        let after = rotated.seal(&place(&[ADA]), b"hunter2");
        assert_eq!(after.key_id(), Some(rotated.sealing_key()));
        assert_ne!(before.key_id(), after.key_id());
        for cipher in [ring(&[1]), ring(&[3, 4])] {
            let error = cipher.open(&place(&[ADA]), &after).unwrap_err();
            assert_eq!(error, OpenError::UnknownKey);
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same_and_an_empty_one_is_a_value() {
        let cipher = ring(&[1]);
        let [a, b] = [(); 2].map(|()| cipher.seal(&place(&[ADA]), b""));
        assert_ne!(a, b);
        let opened = cipher.open(&place(&[ADA]), &a).expect("it opens");
        assert!(opened.expose().is_empty());
    }

    #[test]
    fn nothing_is_printed() {
        let cipher = ring(&[65]);
        let sealed = cipher.seal(&place(&[ADA]), b"hunter2");
        let opened = cipher.open(&place(&[ADA]), &sealed).expect("it opens");
        let printed = format!("{cipher:?} {sealed:?} {opened:?}");
        assert_eq!(
            printed,
            "Cipher([redacted]) Sealed([redacted]) Opened([redacted])"
        );
        let id = cipher.sealing_key().to_string();
        assert!(id.len() == 16 && !id.contains("4141"), "{id}");
    }

    #[test]
    fn a_ring_without_a_key_is_none() {
        assert!(Cipher::new(&[], Rng::seeded(7)).is_err());
    }
}
