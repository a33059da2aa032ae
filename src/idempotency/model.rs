//! Idempotency keys of requests, and their stored replies.

use chrono::{DateTime, Utc};
use crypto::{Mac, Plaintext, Sealed};
use uuid::Uuid;

use super::error::Error;
use crate::ctx::ReservedKey;
use crate::policy::KeyUse;
use crate::sealed::hash_uuids;

/// Longest reply that is stored, in bytes.
pub(super) const MAX_REPLY: usize = 64 * 1024;

const MAX_LENGTH: usize = 255;

/// SHA-256 hash of a client's key, which can have personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash(pub(super) [u8; 32]);

impl KeyHash {
    /// The key of a request with these values of the header; `None` if it has none and needs none.
    pub(super) fn of<'a>(
        key_use: KeyUse,
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, Error> {
        let Some(key) = values.next() else {
            return match key_use {
                KeyUse::Optional => Ok(None),
                KeyUse::Required => Err(Error::Required),
            };
        };
        let is_valid = (1..=MAX_LENGTH).contains(&key.len())
            && key.iter().all(u8::is_ascii_graphic)
            && values.next().is_none();
        if !is_valid {
            return Err(Error::Malformed);
        }
        Ok(Some(Self(crypto::sha256(key))))
    }
}

/// A reservation to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewReservation {
    pub(super) key: ReservedKey,
    pub(super) holder: Uuid,
    pub(super) request_mac: Mac,
    pub(super) locked_until: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

/// A key that was used before.
#[derive(Debug)]
pub(super) struct UsedKey {
    pub(super) request_mac: Vec<u8>,
    /// `None` while the request runs.
    pub(super) status: Option<u16>,
    /// `None` as well if the reply was too large.
    pub(super) body: Option<Sealed>,
}

/// Reply of a request that has committed; the body is JSON.
#[derive(Debug)]
pub(super) struct StoredReply {
    pub(super) status: u16,
    pub(super) body: Plaintext,
}

/// Ids of a row, for the associated data of its sealed reply.
pub(super) fn row_ids(key: &ReservedKey) -> [Uuid; 4] {
    let [start, end] = hash_uuids(&key.hash);
    [key.account_id.0, key.user_id.0, start, end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key_use: KeyUse, values: &[&[u8]]) -> Result<Option<KeyHash>, Error> {
        KeyHash::of(key_use, values.iter().copied())
    }

    #[test]
    fn an_operation_that_requires_a_key_rejects_requests_without_one() {
        assert!(matches!(key(KeyUse::Optional, &[]), Ok(None)));
        assert!(matches!(key(KeyUse::Required, &[]), Err(Error::Required)));
        for key_use in [KeyUse::Optional, KeyUse::Required] {
            let same = key(key_use, &[b"1"]).ok().flatten();
            assert_eq!(same, key(key_use, &[b"1"]).ok().flatten());
            assert!(same.is_some());
        }
        let problem = http_toolkit::Problem::from(Error::Required);
        assert_eq!(problem.code().as_str(), "idempotency_key_required");
        assert!(problem.code().title().contains("Idempotency-Key"));
    }

    #[test]
    fn a_key_is_one_header_of_visible_ascii() {
        let longest = [b'x'; MAX_LENGTH];
        for good in [&b"1"[..], b"\"8e03978e\"", b"order:7/2", &longest] {
            assert!(key(KeyUse::Optional, &[good]).is_ok());
        }
        let too_long = [b'x'; MAX_LENGTH + 1];
        for bad in [&b""[..], b"a b", b"a\tb", "é".as_bytes(), &too_long] {
            let refused = key(KeyUse::Optional, &[bad]);
            assert!(matches!(refused, Err(Error::Malformed)), "{bad:?}");
        }
        let twice = key(KeyUse::Optional, &[b"1", b"1"]);
        assert!(matches!(twice, Err(Error::Malformed)));
    }
}
