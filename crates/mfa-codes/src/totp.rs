//! TOTP codes (RFC 6238): HMAC-SHA-1, six digits, 30 seconds, one step of leeway each way. Every authenticator
//! app supports these parameters.

use chrono::{DateTime, Utc};
use clock::Rng;
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use totp_rs::{Algorithm, Builder, Totp};
use url::form_urlencoded::byte_serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::typed::{narrow, separates};

/// 160 bits, as long as the hash (RFC 4226 §4).
const BYTES: usize = 20;

/// Maximum length of the input in bytes.
const LONGEST_CODE: usize = 64;

/// Code of an authenticator app: six digits.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^\\s*([0-9][\\s-]*){6}$", example = "492039")]
pub struct TotpCode(Zeroizing<String>);

/// Secret that an authenticator app and the service share.
pub struct TotpSecret(Zeroizing<[u8; BYTES]>);

impl TryFrom<String> for TotpCode {
    type Error = &'static str;

    /// Accepts what people type and paste: spaces and hyphens anywhere, and digits of an East Asian
    /// input method.
    fn try_from(raw: String) -> Result<Self, &'static str> {
        let raw = Zeroizing::new(raw);
        if raw.len() > LONGEST_CODE {
            return Err("must be 6 digits");
        }
        let plain: String = raw.chars().map(narrow).filter(|c| !separates(*c)).collect();
        let plain = Zeroizing::new(plain);
        let fits = plain.len() == 6 && plain.bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some(Self(plain)).ok_or("must be 6 digits")
    }
}

impl std::fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpCode([redacted])")
    }
}

impl TotpSecret {
    /// Random.
    #[must_use]
    pub fn new(rng: &Rng) -> Self {
        Self(Zeroizing::new(rng.bytes()))
    }

    /// From storage; `None` if the length is wrong.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// To store, encrypted.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &*self.0
    }

    /// Returns the time step of a code within the leeway. Compares in constant time.
    #[must_use]
    pub fn step_of(&self, code: &TotpCode, now: DateTime<Utc>) -> Option<i64> {
        let time = u64::try_from(now.timestamp()).unwrap_or_default();
        let step = self.totp().check(&code.0, time)?;
        i64::try_from(step).ok()
    }

    /// For people who type it in (RFC 4648 §6).
    #[must_use]
    pub fn to_base32(&self) -> String {
        self.totp().secret().to_base32()
    }

    /// URL that apps open.
    #[must_use]
    pub fn otpauth_url(&self, product: &str, account: &str) -> String {
        let secret = self.to_base32();
        let [product, account] = [&issuer(product), account].map(escape);
        format!(
            "otpauth://totp/{product}:{account}?secret={secret}&issuer={product}&algorithm=SHA1&digits=6&period=30"
        )
    }

    fn totp(&self) -> Totp {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(30)
            .with_skew(1)
            .with_secret(*self.0)
            .build()
            .expect("160 bits, 6 digits and 30 s are within the standard")
    }
}

/// Picture of a URL, for the camera of a phone.
pub fn qr_svg(url: &str) -> Result<String, QrError> {
    let code = QrCode::with_error_correction_level(url, EcLevel::M)?;
    let mut image = code.render::<svg::Color<'_>>();
    Ok(image.module_dimensions(4, 4).build())
}

/// Product name without colons: apps split the label at a colon, even if it is percent-encoded.
fn issuer(product: &str) -> String {
    let words = product.split([':', '\u{ff1a}']).map(str::trim);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Percent-encodes, with `%20` for a space: apps do not decode a plus.
fn escape(part: &str) -> String {
    byte_serialize(part.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    fn rfc() -> TotpSecret {
        TotpSecret::of(b"12345678901234567890").expect("it is long enough")
    }

    fn step(code: &str, second: i64) -> Option<i64> {
        let code = TotpCode::try_from(code.to_owned()).expect("it is a code");
        let now = DateTime::from_timestamp(second, 0).expect("it is a time");
        rfc().step_of(&code, now)
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B: the last six of its eight digits.
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step(code, second), Some(second / 30), "{second}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_one_on_either_side() {
        // 081804 is of the 30 seconds from 1,111,111,080 on.
        for (second, good) in [
            (1_111_111_049, false),
            (1_111_111_050, true),
            (1_111_111_080, true),
            (1_111_111_139, true),
            (1_111_111_140, false),
        ] {
            assert_eq!(step("081804", second).is_some(), good, "{second}");
        }
        assert_eq!(step("081804", -5), None);
    }

    #[test]
    fn a_code_is_six_digits_however_they_are_grouped() {
        let parse = |text: &str| TotpCode::try_from(text.to_owned()).map(|code| code.0.to_string());
        for text in [
            "081804",
            "081 804",
            " 081804 ",
            "08 18 04",
            "081-804",
            "081\u{ff0d}804",
            "081804\n",
            "\u{a0}081\u{202f}804",
            "\u{feff}081804\u{200e}",
            "\u{ff10}\u{ff18}\u{ff11}\u{3000}\u{ff18}\u{ff10}\u{ff14}",
        ] {
            assert_eq!(parse(text).as_deref(), Ok("081804"), "{text:?}");
        }
        for wrong in [
            "",
            "      ",
            "08180",
            "0818040",
            "08180a",
            "+81804",
            "0818.04",
            "\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}",
            "08180\u{b2}",
            &format!("081804{}", " ".repeat(1_000_000)),
        ] {
            assert!(parse(wrong).is_err(), "{wrong:.20}");
        }
        let code = TotpCode::try_from("081804".to_owned()).expect("it is a code");
        assert!(!format!("{code:?}").contains("081"));
    }

    #[test]
    fn an_address_survives_any_name() {
        let url = rfc().otpauth_url("A&B: 50% + more", "ada+x@example.com");
        let url = url::Url::parse(&url).expect("it is a URL");
        assert_eq!((url.scheme(), url.host_str()), ("otpauth", Some("totp")));
        assert_eq!(
            url.path(),
            "/A%26B%2050%25%20%2B%20more:ada%2Bx%40example.com"
        );
        let pairs: Vec<_> = url.query_pairs().collect();
        assert_eq!(pairs[0].1, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(pairs[1].1, "A&B 50% + more");
    }

    #[test]
    fn the_issuer_has_no_colon() {
        for (product, name) in [
            ("Acme", "Acme"),
            ("Acme: Rockets", "Acme Rockets"),
            (":Acme::Rockets:", "Acme Rockets"),
            ("Acme \u{ff1a} Rockets", "Acme Rockets"),
        ] {
            assert_eq!(issuer(product), name, "{product}");
        }
    }

    #[test]
    fn the_longest_name_and_address_fit_into_the_picture() {
        let product = "\u{1f680}".repeat(64);
        let account = format!("{}@{}.example.com", "+".repeat(64), "a".repeat(177));
        assert_eq!(account.len(), 254);
        assert!(qr_svg(&rfc().otpauth_url(&product, &account)).is_ok());
    }
}
