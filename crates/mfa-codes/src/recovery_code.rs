//! Recovery codes, for a lost authenticator.

use aws_lc_rs::digest::{SHA256, digest};
use clock::Rng;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::typed::{narrow, separates};

/// Crockford's base32: without I, L, O and U, which are easily misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const BYTES: usize = 15;
const CHARACTERS: usize = BYTES * 8 / 5;

/// Maximum length of the input in bytes: three for each character and as many for a separator beside it.
const LONGEST: usize = 6 * CHARACTERS;

/// 120 random bits, written as 24 characters in groups of four.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 24, max_length = 144, example = "7k2m-p9x4-3qvt-h8wd-5nbz-c6rj")]
pub struct RecoveryCode(Zeroizing<[u8; BYTES]>);

impl RecoveryCode {
    /// Random.
    #[must_use]
    pub fn new(rng: &Rng) -> Self {
        Self(Zeroizing::new(rng.bytes()))
    }

    /// For its owner.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(CHARACTERS + CHARACTERS / 4);
        for at in 0..CHARACTERS {
            if at > 0 && at % 4 == 0 {
                text.push('-');
            }
            let five = (0..5).fold(0, |five, bit| five << 1 | self.bit(at * 5 + bit));
            text.push(char::from(ALPHABET[five]));
        }
        text
    }

    fn bit(&self, at: usize) -> usize {
        usize::from(self.0[at / 8] >> (7 - at % 8) & 1)
    }

    /// What is stored. A slow hash or a key would add nothing: above 112 random bits a plain hash is sufficient
    /// (ASVS 5.0 §6.5.2), and it depends on no key.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &*self.0).as_ref());
        hash
    }
}

impl TryFrom<String> for RecoveryCode {
    type Error = &'static str;

    /// Accepts any case, any grouping, and characters that look alike.
    fn try_from(raw: String) -> Result<Self, &'static str> {
        let wrong = "must be a recovery code: 24 letters and digits";
        let raw = Zeroizing::new(raw);
        if raw.len() > LONGEST {
            return Err(wrong);
        }
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        let mut count = 0;
        for c in raw.chars().map(narrow).filter(|c| !separates(*c)) {
            let plain = match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                other => other,
            };
            let five = ALPHABET
                .iter()
                .position(|known| char::from(*known) == plain)
                .ok_or(wrong)?;
            for bit in 0..5 {
                let at = count * 5 + bit;
                let byte = bytes.get_mut(at / 8).ok_or(wrong)?;
                *byte |= u8::from(five >> (4 - bit) & 1 == 1) << (7 - at % 8);
            }
            count += 1;
        }
        (count == CHARACTERS).then_some(Self(bytes)).ok_or(wrong)
    }
}

impl std::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<[u8; 32], &'static str> {
        RecoveryCode::try_from(text.to_owned()).map(|code| code.hash())
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for seed in 0..50 {
            let code = RecoveryCode::new(&Rng::seeded(seed));
            let text = code.encode();
            assert_eq!(text.len(), 29);
            let loose = format!(
                " {} ",
                text.replace('-', " ").to_uppercase().replace('0', "O")
            );
            let alike = text.replace('-', "").replace('1', "l");
            let wide = text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0));
            let wide: String = wide.flatten().collect();
            let pasted = format!("\u{feff}{}\r\n", text.replace('-', "\u{2011}"));
            let spaced = text.replace('-', " \t").to_uppercase();
            let one = text.replace('1', "I");
            for typed in [&text, &loose, &alike, &one, &wide, &pasted, &spaced] {
                assert_eq!(parse(typed), Ok(code.hash()), "{typed}");
            }
            assert!(!format!("{code:?}").contains(&text[..4]));
        }
    }

    #[test]
    fn every_bit_of_a_code_counts() {
        let text = RecoveryCode::new(&Rng::seeded(1)).encode();
        let all: std::collections::HashSet<_> = (0..text.len())
            .filter(|at| &text[*at..=*at] != "-")
            .flat_map(|at| {
                let text = text.clone();
                ALPHABET.iter().map(move |other| {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = *other;
                    parse(std::str::from_utf8(&changed).expect("it is text")).expect("it parses")
                })
            })
            .collect();
        assert_eq!(all.len(), CHARACTERS * 31 + 1);
    }

    #[test]
    fn what_cannot_be_a_code_is_refused() {
        for wrong in [
            "",
            "7k2m",
            "7k2m-p9x4-3qvt-h8wd-5nbz-c6r",
            "7k2m-p9x4-3qvt-h8wd-5nbz-c6rj7",
            "7k2m-p9x4-3qvt-h8wd-5nbz-c6ru",
            "7k2m-p9x4-3qvt-h8wd-5nbz-c6rä",
            &" ".repeat(1_000_000),
        ] {
            assert!(parse(wrong).is_err());
        }
    }
}
