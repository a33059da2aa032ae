//! `keys`: rotation of a key ring in three steps. Replicas before and after a step accept each other's tokens.
//!
//! A new key is added at the end, where it only verifies; once every replica has it, it is promoted to the
//! front; and the last key is dropped when nothing depends on it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::cli::{Ring, Step};
use crate::config::{Key32, RingConfig};
use crate::infra::{BadKey, JwtKeys, KeyId, Rng};

/// `max-age` of `/.well-known/jwks.json`.
const JWKS_MAX_AGE: Duration = Duration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the ring has one key only: `keys rotate --step add` makes another")]
    OneKey,
    #[error(
        "the command does not drop encryption keys: values that are still encrypted under one would be lost"
    )]
    StillSealed,
    #[error(transparent)]
    Signing(#[from] BadKey),
    #[error("the ring cannot be written to that file")]
    Write(#[from] std::io::Error),
}

/// A ring after a step, and what to do with it.
#[derive(Debug)]
pub struct Rotated {
    pub keys: Vec<Key32>,
    /// What changed and the next step, without keys.
    pub advice: String,
}

/// Lists the ids of the keys of a ring and the use of each.
pub fn status(ring: Ring, config: &RingConfig) -> Result<String, Error> {
    let (used, kept) = verbs(ring);
    let lines = ids(ring, &config.keys)?.into_iter().enumerate();
    let lines = lines.map(|(at, id)| {
        let does = if at == 0 { used } else { kept };
        format!("{id}  {does}")
    });
    let lines: Vec<String> = lines.collect();
    Ok(format!("{}\n{}", config.variable, lines.join("\n")))
}

pub fn rotate(kind: Ring, step: Step, config: &RingConfig, rng: &Rng) -> Result<Rotated, Error> {
    let mut keys = config.keys.clone();
    if step != Step::Add && keys.len() < 2 {
        return Err(Error::OneKey);
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
        Step::Drop if kind == Ring::Encryption => return Err(Error::StillSealed),
        Step::Drop => keys.pop(),
    };
    let subject: Vec<Key32> = subject.into_iter().collect();
    let id = ids(kind, &subject)?.join(", ");
    let advice = advice(kind, step, &id, config);
    Ok(Rotated { keys, advice })
}

impl Rotated {
    /// Value of the variable.
    #[must_use]
    pub fn value(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Key32::encode).collect();
        keys.join(",")
    }

    /// Writes the ring to a new file that only its owner may read, for `<variable>_FILE`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
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

/// Use of the first key of a ring, and of the others.
fn verbs(ring: Ring) -> (&'static str, &'static str) {
    match ring {
        Ring::Signing | Ring::Token => ("signs and verifies", "verifies"),
        Ring::Encryption => ("encrypts and decrypts", "decrypts"),
    }
}

fn ids(ring: Ring, keys: &[Key32]) -> Result<Vec<String>, Error> {
    Ok(match ring {
        Ring::Signing => {
            let ring = JwtKeys::new(keys, "", "")?;
            ring.public().map(|key| key.kid().to_owned()).collect()
        }
        Ring::Encryption | Ring::Token => {
            keys.iter().map(|key| KeyId::of(key).to_string()).collect()
        }
    })
}

fn advice(ring: Ring, step: Step, id: &str, config: &RingConfig) -> String {
    let variable = config.variable;
    let restart = format!("Set this value of {variable} on every replica, one after the other.");
    let (used, kept) = verbs(ring);
    match step {
        Step::Add => {
            let wait = match ring {
                Ring::Signing => format!(
                    " Wait {} s more for services that cache /.well-known/jwks.json.",
                    JWKS_MAX_AGE.as_secs()
                ),
                Ring::Encryption | Ring::Token => String::new(),
            };
            let next = next_step(ring, "promote");
            format!("The new key {id} {kept}. {restart}{wait} Then: {next}")
        }
        Step::Promote => {
            let next = match config.outlived_by {
                Some(wait) => format!(
                    "{} s after the last of them has restarted, nothing depends on the last key any more. Then: {}",
                    wait.as_secs(),
                    next_step(ring, "drop")
                ),
                None => {
                    "Keep the other keys: they decrypt what was encrypted under them.".to_owned()
                }
            };
            format!("The key {id} {used} from now on. {restart} {next}")
        }
        Step::Drop if ring == Ring::Token => format!("The key {id} is dropped. {restart}"),
        Step::Drop => format!("The key {id} is dropped, and what it signed is rejected. {restart}"),
    }
}

fn next_step(ring: Ring, step: &str) -> String {
    let ring = match ring {
        Ring::Signing => "",
        Ring::Encryption => " --ring encryption",
        Ring::Token => " --ring token",
    };
    format!("keys rotate{ring} --step {step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(bytes: &[u8]) -> RingConfig {
        RingConfig {
            variable: "JWT_SIGNING_KEYS",
            keys: bytes.iter().map(|byte| Key32::new([*byte; 32])).collect(),
            outlived_by: Some(Duration::from_mins(16)),
        }
    }

    fn bytes(keys: &[Key32]) -> Vec<u8> {
        keys.iter().map(|key| key.expose()[0]).collect()
    }

    fn step(step: Step, of: &[u8]) -> Result<Rotated, Error> {
        rotate(Ring::Signing, step, &ring(of), &Rng::seeded(1))
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
            assert!(matches!(step(wrong, &[1]), Err(Error::OneKey)));
        }
    }

    #[test]
    fn neither_advice_nor_status_contains_a_key() {
        let config = ring(&[1, 2]);
        for ring in [Ring::Signing, Ring::Encryption, Ring::Token] {
            let text = status(ring, &config).expect("they are keys");
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
        let advice = |ring_of| rotate(ring_of, Step::Add, &ring(&[1]), &Rng::seeded(1));
        let advice = |ring_of| advice(ring_of).expect("it is added").advice;
        assert!(advice(Ring::Signing).ends_with("keys rotate --step promote"));
        assert!(advice(Ring::Encryption).ends_with("keys rotate --ring encryption --step promote"));
        assert!(advice(Ring::Token).ends_with("keys rotate --ring token --step promote"));
    }

    #[test]
    fn an_encryption_key_is_not_dropped() {
        let dropped = rotate(
            Ring::Encryption,
            Step::Drop,
            &ring(&[1, 2]),
            &Rng::seeded(1),
        );
        assert!(matches!(dropped, Err(Error::StillSealed)));
    }
}
