//! Encryption at rest: XChaCha20-Poly1305 under a key ring of which the first key encrypts and all
//! decrypt. A sealed value carries the id of its key; table, column and row are its associated data, so
//! that it cannot be moved.
//!
//! Layout: version (1 byte), key id (8), nonce (24), ciphertext and tag (16).

use aws_lc_rs::hmac;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use uuid::Uuid;
use zeroize::Zeroizing;

use clock::Rng;

use crate::Key32;

const VERSION: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;
const HEADER: usize = 1 + ID + NONCE;

/// Key ring for encryption at rest.
pub struct Cipher {
    first: Member,
    older: Vec<Member>,
    rng: Rng,
}

struct Member {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// Fingerprint of an encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; ID]);

/// Associated data: where a sealed value is stored.
#[derive(Clone, Copy, Debug)]
pub struct AssociatedData<'a> {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// Ids in the row's key, and its owner's.
    pub row: &'a [Uuid],
}

/// Encrypted value with its key id, as it is stored.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Sealed(Vec<u8>);

/// Decrypted value, wiped on drop and redacted in `Debug`.
pub struct Plaintext(Zeroizing<Vec<u8>>);

/// Decryption failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is not in the ring.
    #[error("a sealed value was encrypted under a key that is not in the key ring")]
    UnknownKey,
    /// Authentication failed: the value was changed or moved.
    #[error("a sealed value was changed, or moved from another row or column")]
    Damaged,
}

/// The key ring is empty.
#[derive(Debug, thiserror::Error)]
#[error("there is no key")]
pub struct NoKey;

impl Cipher {
    /// Creates the cipher of a ring, the encrypting key first.
    pub fn new(keys: &[Key32], rng: Rng) -> Result<Self, NoKey> {
        let (first, older) = keys.split_first().ok_or(NoKey)?;
        Ok(Self {
            first: Member::new(first),
            older: older.iter().map(Member::new).collect(),
            rng,
        })
    }

    /// Encrypts a value.
    ///
    /// # Panics
    /// When the value is longer than 256 GiB, the limit of the algorithm.
    #[must_use]
    pub fn seal(&self, data: &AssociatedData<'_>, value: &[u8]) -> Sealed {
        // A random nonce of 192 bits does not repeat (draft-irtf-cfrg-xchacha §2.1).
        let nonce: [u8; NONCE] = self.rng.bytes();
        let mut text = Zeroizing::new(Vec::with_capacity(value.len() + TAG));
        text.extend_from_slice(value);
        self.first
            .cipher
            .encrypt_in_place(&nonce.into(), &data.encode(self.first.id), &mut *text)
            .expect("a value is shorter than 256 GiB");
        Sealed([&[VERSION], &self.first.id.0[..], &nonce, &text].concat())
    }

    /// Decrypts a value.
    pub fn open(&self, data: &AssociatedData<'_>, sealed: &Sealed) -> Result<Plaintext, OpenError> {
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
            .decrypt_in_place(&nonce.into(), &data.encode(id), &mut *text)
            .map_err(|_| OpenError::Damaged)?;
        Ok(Plaintext(text))
    }

    /// Id of the key that encrypts.
    #[must_use]
    pub fn sealing_key(&self) -> KeyId {
        self.first.id
    }

    /// Ids of all keys, the encrypting key first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        let all = std::iter::once(&self.first).chain(&self.older);
        all.map(|member| member.id).collect()
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
    /// Id of `key`.
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

    /// The id as a sealed value has it from its second byte on.
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

impl AssociatedData<'_> {
    /// Encodes unambiguously: each part with its length.
    fn encode(&self, key: KeyId) -> Vec<u8> {
        let mut encoded = vec![VERSION];
        encoded.extend_from_slice(&key.0);
        let row: Vec<u8> = self.row.iter().flat_map(Uuid::as_bytes).copied().collect();
        for part in [self.table.as_bytes(), self.column.as_bytes(), &row] {
            encoded.extend_from_slice(&(part.len() as u64).to_be_bytes());
            encoded.extend_from_slice(part);
        }
        encoded
    }
}

impl Sealed {
    /// Id of the key; `None` when the value is malformed.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        let whole = self.0.len() >= HEADER + TAG && self.0[0] == VERSION;
        let id = self.0.get(1..).and_then(<[u8]>::first_chunk)?;
        whole.then_some(KeyId(*id))
    }

    /// The value as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed([redacted])")
    }
}

impl Plaintext {
    /// Decrypted bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plaintext([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const GRACE: Uuid = Uuid::from_u128(2);

    fn place(row: &[Uuid]) -> AssociatedData<'_> {
        AssociatedData {
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
        let open = |data: &AssociatedData<'_>| {
            let opened = cipher.open(data, &sealed)?;
            Ok(opened.expose().to_vec())
        };
        assert_eq!(open(&place(&[ADA])), Ok(b"hunter2".to_vec()));
        let own: &[Uuid] = &[ADA];
        let elsewhere = [
            place(&[GRACE]),
            place(&[ADA, ADA]),
            place(&[]),
            AssociatedData {
                column: "name",
                ..place(own)
            },
            AssociatedData {
                table: "files",
                ..place(own)
            },
            // The same characters, split elsewhere.
            AssociatedData {
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
        let ids = [after.key_id(), before.key_id()].map(|id| id.expect("it is whole"));
        assert_eq!(rotated.key_ids(), ids);
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
            "Cipher([redacted]) Sealed([redacted]) Plaintext([redacted])"
        );
        let id = cipher.sealing_key().to_string();
        assert!(id.len() == 16 && !id.contains("4141"), "{id}");
    }

    #[test]
    fn a_ring_without_a_key_is_none() {
        assert!(Cipher::new(&[], Rng::seeded(7)).is_err());
    }
}
