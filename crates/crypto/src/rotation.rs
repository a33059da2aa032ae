//! Rotation of a key ring in three steps. Replicas before and after a step accept each other's tokens.
//!
//! A new key is added at the end, where it only verifies; once every replica has it, it is promoted to the
//! front; and the last key is dropped when nothing depends on it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use clock::Rng;

use crate::{BadKey, JwtKeys, Key32, KeyId};

/// A key ring in one setting.
#[derive(Clone, Debug)]
pub struct KeyRing {
    /// Name of the setting.
    pub variable: &'static str,
    /// Use of its keys.
    pub usage: KeyUsage,
    /// The first one is used, the others are accepted.
    pub keys: Vec<Key32>,
    /// How long data signed under a key stays valid after the key is no longer used; `None` is for as long as it is
    /// stored.
    pub outlived_by: Option<Duration>,
    /// Keys that stored values are encrypted under. `None` if this is not known: no encryption key is dropped then.
    pub in_use: Option<Vec<KeyId>>,
    /// The command that prints the ring after a step, as advice quotes it: `keys rotate`.
    pub command: &'static str,
}

/// Use of the keys of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsage {
    /// Signatures that others verify by a JWKS, which they cache for so long.
    Signing { jwks_max_age: Duration },
    /// Message authentication codes.
    Mac,
    /// Encryption of stored values.
    Encryption,
}

/// A step of a rotation, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Step {
    /// Append a new key, which is accepted and not used
    Add,
    /// Move the last key to the front, where it is used
    Promote,
    /// Remove the last key, which no replica uses any more; refused while a row needs it
    Drop,
}

/// The ring cannot be rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error("the ring has one key only: `keys rotate --step add` makes another")]
    OneKey,
    #[error(
        "stored values may be encrypted under the key {0}: `keys status --ring encryption` counts them, `keys reseal` re-encrypts them"
    )]
    StillSealed(String),
    #[error(transparent)]
    Signing(#[from] BadKey),
    #[error("the ring cannot be written to that file")]
    Write(#[from] std::io::Error),
}

/// A ring after a step, and what to do with it.
#[derive(Debug)]
pub struct Rotated {
    pub keys: Vec<Key32>,
    /// Summary of the change and of the next step, without keys.
    pub advice: String,
}

impl KeyRing {
    /// Lists the ids of the keys and the use of each.
    pub fn status(&self) -> Result<String, RotationError> {
        let (used, kept) = self.usage.verbs();
        let mut lines = vec![self.variable.to_owned()];
        for (at, id) in self.usage.ids(&self.keys)?.into_iter().enumerate() {
            let does = if at == 0 { used } else { kept };
            lines.push(format!("{id}  {does}"));
        }
        Ok(lines.join("\n"))
    }

    /// Makes a step of a rotation.
    pub fn rotate(&self, step: Step, rng: &Rng) -> Result<Rotated, RotationError> {
        let mut keys = self.keys.clone();
        if step != Step::Add && keys.len() < 2 {
            return Err(RotationError::OneKey);
        }
        let subject = match step {
            Step::Add => {
                keys.push(Key32::new(rng.bytes()));
                keys.last().cloned()
            }
            Step::Promote => {
                keys.rotate_right(1);
                keys.first().cloned()
            }
            Step::Drop => {
                let last = keys.pop();
                if let Some(key) = &last
                    && self.is_needed(key)
                {
                    return Err(RotationError::StillSealed(KeyId::of(key).to_string()));
                }
                last
            }
        };
        let id = self.usage.ids(subject.as_slice())?.join(", ");
        let advice = self.advice(step, &id);
        Ok(Rotated { keys, advice })
    }

    /// Returns whether stored values are, or may be, encrypted under a key.
    fn is_needed(&self, key: &Key32) -> bool {
        let in_use = self.in_use.as_ref();
        self.usage == KeyUsage::Encryption && in_use.is_none_or(|ids| ids.contains(&KeyId::of(key)))
    }

    fn advice(&self, step: Step, id: &str) -> String {
        let Self {
            variable, command, ..
        } = self;
        let restart =
            format!("Set this value of {variable} on every replica, one after the other.");
        let (used, kept) = self.usage.verbs();
        match step {
            Step::Add => {
                let wait = match self.usage {
                    KeyUsage::Signing { jwks_max_age } => format!(
                        " Wait {} s more for services that cache /.well-known/jwks.json.",
                        jwks_max_age.as_secs()
                    ),
                    KeyUsage::Mac | KeyUsage::Encryption => String::new(),
                };
                format!("The new key {id} {kept}. {restart}{wait} Then: {command} --step promote")
            }
            Step::Promote => {
                let next = match self.outlived_by {
                    Some(wait) => format!(
                        "{} s after the last of them has restarted, nothing depends on the last key any more. Then: {command} --step drop",
                        wait.as_secs(),
                    ),
                    None => format!(
                        "The other keys decrypt what was encrypted under them. After the last replica has restarted: keys reseal. Then: {command} --step drop"
                    ),
                };
                format!("The key {id} {used} from now on. {restart} {next}")
            }
            Step::Drop if self.usage == KeyUsage::Mac => {
                format!("The key {id} is dropped. {restart}")
            }
            Step::Drop if self.usage == KeyUsage::Encryption => format!(
                "The key {id} is dropped. Keep a copy of it for as long as backups of before are kept. {restart}"
            ),
            Step::Drop => {
                format!("The key {id} is dropped, and what it signed is rejected. {restart}")
            }
        }
    }
}

impl KeyUsage {
    /// Use of the first key of a ring, and of the others.
    const fn verbs(self) -> (&'static str, &'static str) {
        match self {
            Self::Signing { .. } | Self::Mac => ("signs and verifies", "verifies"),
            Self::Encryption => ("encrypts and decrypts", "decrypts"),
        }
    }

    fn ids(self, keys: &[Key32]) -> Result<Vec<String>, BadKey> {
        Ok(match self {
            Self::Signing { .. } => {
                let ring = JwtKeys::new(keys, "", "")?;
                ring.public().map(|key| key.kid().to_owned()).collect()
            }
            Self::Mac | Self::Encryption => {
                keys.iter().map(|key| KeyId::of(key).to_string()).collect()
            }
        })
    }
}

impl Rotated {
    /// Value of the variable.
    #[must_use]
    pub fn value(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Key32::encode).collect();
        keys.join(",")
    }

    /// Writes the ring to a new file that only its owner may read, for `<variable>_FILE`.
    pub fn write(&self, path: &Path) -> Result<(), RotationError> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(self.value().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING: KeyUsage = KeyUsage::Signing {
        jwks_max_age: Duration::from_mins(5),
    };

    fn ring(usage: KeyUsage, bytes: &[u8]) -> KeyRing {
        KeyRing {
            variable: "JWT_SIGNING_KEYS",
            usage,
            command: "keys rotate",
            keys: bytes.iter().map(|byte| Key32::new([*byte; 32])).collect(),
            outlived_by: Some(Duration::from_mins(16)),
            in_use: None,
        }
    }

    fn bytes(keys: &[Key32]) -> Vec<u8> {
        keys.iter().map(|key| key.expose()[0]).collect()
    }

    fn step(step: Step, of: &[u8]) -> Result<Rotated, RotationError> {
        ring(SIGNING, of).rotate(step, &Rng::seeded(1))
    }

    #[test]
    fn each_step_moves_one_key_and_three_of_them_replace_the_ring() {
        let added = step(Step::Add, &[1]).expect("it is added");
        assert_eq!((added.keys.len(), added.keys[0].expose()[0]), (2, 1));
        assert_ne!(added.keys[1].expose(), added.keys[0].expose());
        let promoted = step(Step::Promote, &[1, 2]).expect("it is promoted");
        assert_eq!(bytes(&promoted.keys), [2, 1]);
        assert!(promoted.advice.contains("960 s"), "{}", promoted.advice);
        let dropped = step(Step::Drop, &[2, 1]).expect("it is dropped");
        assert_eq!(bytes(&dropped.keys), [2]);

        // A ring of which the oldest was not dropped in time.
        let promoted = step(Step::Promote, &[2, 1, 3]).expect("it is promoted");
        assert_eq!(bytes(&promoted.keys), [3, 2, 1]);
        for wrong in [Step::Promote, Step::Drop] {
            assert!(matches!(step(wrong, &[1]), Err(RotationError::OneKey)));
        }
    }

    #[test]
    fn neither_advice_nor_status_contains_a_key() {
        let config = ring(SIGNING, &[1, 2]);
        for usage in [SIGNING, KeyUsage::Encryption, KeyUsage::Mac] {
            let text = ring(usage, &[1, 2]).status().expect("they are keys");
            assert_eq!(text.lines().count(), 3, "{text}");
            for key in &config.keys {
                assert!(!text.contains(&key.encode()), "{text}");
            }
        }
        for kind in [Step::Add, Step::Promote, Step::Drop] {
            let rotated = step(kind, &[1, 2]).expect("it is rotated");
            for key in rotated.keys.iter().chain(&config.keys) {
                assert!(
                    !rotated.advice.contains(&key.encode()),
                    "{}",
                    rotated.advice
                );
            }
        }
    }

    #[test]
    fn the_next_step_is_one_of_the_same_ring() {
        let mut ring = ring(KeyUsage::Mac, &[1]);
        ring.command = "keys rotate --ring token";
        let added = ring.rotate(Step::Add, &Rng::seeded(1));
        let advice = added.expect("it is added").advice;
        assert!(advice.ends_with("keys rotate --ring token --step promote"));
    }

    #[test]
    fn an_encryption_key_is_dropped_only_if_no_stored_value_needs_it() {
        let mut ring = ring(KeyUsage::Encryption, &[1, 2]);
        let ids: Vec<KeyId> = ring.keys.iter().map(KeyId::of).collect();
        for in_use in [None, Some(vec![ids[1]]), Some(ids.clone())] {
            ring.in_use = in_use;
            let dropped = ring.rotate(Step::Drop, &Rng::seeded(1));
            let Err(RotationError::StillSealed(key)) = dropped else {
                panic!("{:?}", ring.in_use)
            };
            assert_eq!(key, ids[1].to_string());
        }
        for in_use in [vec![], vec![ids[0]]] {
            ring.in_use = Some(in_use);
            let dropped = ring.rotate(Step::Drop, &Rng::seeded(1));
            assert_eq!(bytes(&dropped.expect("it is dropped").keys), [1]);
        }
    }
}
