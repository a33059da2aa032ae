//! Format of an API key: `<prefix>_<environment>_<id>_<secret>`.
//!
//! The id is 22 characters of base62. The secret is 43 uniformly random characters of base62 (256 bits) and 6 of a
//! checksum over everything before: secret scanners recognize a key, and a mistyped one costs no query. A double
//! click selects all of it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use clock::Rng;
use uuid::Uuid;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters of an id: 62^22 is more than 2^128.
const ID: usize = 22;
/// Characters of a secret: 62^43 is more than 2^256.
const SECRET: usize = 43;
/// Characters of a checksum: 62^6 is more than 2^32.
const CHECKSUM: usize = 6;
/// Characters from the end that identify a key in lists.
const HINT: usize = 4;

/// SHA-256 of a secret, which is stored. A slow hash would add nothing to 256 random bits, and cost every request.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    fn of(secret: &str) -> Self {
        let hash = digest(&SHA256, secret.as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Bytes to store.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Constant-time comparison.
    pub fn matches(&self, stored: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, stored).is_ok()
    }
}

/// A generated key.
pub struct GeneratedApiKey {
    /// The key, for its owner.
    pub text: Zeroizing<String>,
    /// Hash of its secret, to store.
    pub hash: SecretHash,
}

impl GeneratedApiKey {
    /// `prefix` and `environment` are ASCII alphanumerics.
    pub fn generate(prefix: &str, environment: &str, id: Uuid, rng: &Rng) -> Self {
        let secret = generate_secret(rng);
        let id = encode::<ID>(id.as_u128());
        let mut text = Zeroizing::new(String::with_capacity(96));
        for part in [prefix, "_", environment, "_", &id, "_", &*secret] {
            text.push_str(part);
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self {
            hash: SecretHash::of(&secret),
            text,
        }
    }

    /// The last four characters, which identify the key in lists.
    pub fn hint(&self) -> &str {
        &self.text[self.text.len() - HINT..]
    }
}

/// A well-formed key of this environment, not yet verified.
pub struct PresentedApiKey {
    /// Id of the key.
    pub id: Uuid,
    /// Hash of its secret, to compare with the stored one.
    pub hash: SecretHash,
}

impl PresentedApiKey {
    /// Returns `None` for any other text. Any prefix is accepted, so that renaming the product does not break keys. The environment must match, so
    /// that a production key is useless against a copy of the production database.
    pub fn parse(text: &str, environment: &str) -> Option<Self> {
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
        let mut parts = text.split('_');
        let (prefix, environment_given) = (parts.next()?, parts.next()?);
        let (id, secret) = (parts.next()?, parts.next()?);
        let fits = parts.next().is_none()
            && plain(prefix)
            && environment_given == environment
            && id.len() == ID
            && secret.len() == SECRET + CHECKSUM
            && plain(secret);
        if !fits {
            return None;
        }
        let (body, given) = text.split_at_checked(text.len() - CHECKSUM)?;
        if checksum(body) != given {
            return None;
        }
        Some(Self {
            id: Uuid::from_u128(decode(id)?),
            hash: SecretHash::of(&secret[..SECRET]),
        })
    }
}

/// Uniform by rejection sampling.
fn generate_secret(rng: &Rng) -> Zeroizing<String> {
    let even = u8::MAX - u8::MAX % 62;
    let mut secret = Zeroizing::new(String::with_capacity(SECRET));
    while secret.len() < SECRET {
        let bytes = Zeroizing::new(rng.bytes::<64>());
        let drawn = bytes.iter().filter(|byte| **byte < even);
        let drawn = drawn.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        let missing = SECRET - secret.len();
        secret.extend(drawn.take(missing));
    }
    secret
}

/// First 32 bits of the SHA-256. Not a secret.
fn checksum(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let start: [u8; 4] = hash.as_ref()[..4].try_into().expect("there are 32 bytes");
    encode::<CHECKSUM>(u32::from_be_bytes(start).into())
}

fn encode<const LENGTH: usize>(mut number: u128) -> String {
    let mut text = [b'0'; LENGTH];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number % 62).expect("it is less than 62");
        *place = ALPHABET[digit];
        number /= 62;
    }
    text.into_iter().map(char::from).collect()
}

fn decode(text: &str) -> Option<u128> {
    text.bytes().try_fold(0_u128, |number, byte| {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        number.checked_mul(62)?.checked_add(digit as u128)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id() -> Uuid {
        Uuid::from_u128(0x0198_0b6e_7c00_7000_8000_3f2a_51d6_c9b1)
    }

    fn key() -> String {
        let new = GeneratedApiKey::generate("gw", "live", id(), &Rng::seeded(1));
        new.text.to_string()
    }

    fn sealed(body: &str) -> String {
        format!("{body}{}", checksum(body))
    }

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let new = GeneratedApiKey::generate("gw", "live", id(), &Rng::seeded(1));
        let parts: Vec<_> = new.text.split('_').collect();
        assert_eq!(parts[..2], ["gw", "live"]);
        assert_eq!((parts[2].len(), parts[3].len()), (22, 49));
        assert!(new.text.ends_with(new.hint()) && new.hint().len() == 4);
        let read = PresentedApiKey::parse(&new.text, "live").expect("it is a key");
        assert_eq!(read.id, id());
        assert!(
            read.hash.matches(&new.hash.0)
                && !read.hash.matches(&[0; 32])
                && !read.hash.matches(&[])
        );
    }

    #[test]
    fn an_earlier_prefix_is_good_and_another_environment_is_not() {
        let body = key();
        let body = &body[..body.len() - CHECKSUM];
        let renamed = sealed(&body.replacen("gw_", "another_", 1));
        assert!(PresentedApiKey::parse(&renamed, "live").is_some());
        assert!(PresentedApiKey::parse(&key(), "test").is_none());
        let test = sealed(&body.replacen("_live_", "_test_", 1));
        assert!(PresentedApiKey::parse(&test, "live").is_none());
    }

    #[test]
    fn what_is_mistyped_or_made_up_is_no_key() {
        let key = key();
        for at in 0..key.len() {
            for with in ["0", "a", "_", ".", "é", ""] {
                let mut mistyped = key.clone();
                mistyped.replace_range(at..=at, with);
                let read = PresentedApiKey::parse(&mistyped, "live");
                assert_eq!(read.is_some(), mistyped == key, "{mistyped}");
            }
        }
        let (id, secret) = ("z".repeat(22), "0".repeat(43));
        for body in [
            format!("gw_live_{id}_{secret}"), // beyond 128 bits
            format!("gw_live_{}_{secret}", "0".repeat(21)),
            format!("gw_live_{}_{secret}0", "0".repeat(22)),
            format!("gw_live_{}_{secret}_", "0".repeat(22)),
            format!("gw_live__{secret}"),
            "gw_live".to_owned(),
            String::new(),
        ] {
            assert!(
                PresentedApiKey::parse(&sealed(&body), "live").is_none(),
                "{body}"
            );
        }
        let least = sealed(&format!("gw_live_{}_{secret}", "0".repeat(22)));
        assert!(PresentedApiKey::parse(&least, "live").is_some());
    }

    #[test]
    fn secrets_use_the_whole_alphabet_and_never_repeat() {
        let rng = Rng::seeded(7);
        let secrets: BTreeSet<_> = (0..200)
            .map(|_| generate_secret(&rng).to_string())
            .collect();
        assert_eq!(secrets.len(), 200);
        assert!(secrets.iter().all(|secret| secret.len() == SECRET));
        let used: BTreeSet<_> = secrets.iter().flat_map(|secret| secret.bytes()).collect();
        assert!(used.into_iter().eq(ALPHABET.iter().copied()));
    }

    #[test]
    fn numbers_are_the_same_there_and_back() {
        for number in [0, 61, 62, u128::MAX] {
            assert_eq!(decode(&encode::<ID>(number)), Some(number));
        }
    }
}
