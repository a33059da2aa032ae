//! Codes by time (RFC 6238): HMAC-SHA-1, six digits, thirty seconds, and one step of leeway each
//! way, which is what every authenticator app can do.

use chrono::{DateTime, Utc};
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use totp_rs::{Algorithm, Builder, Totp};
use url::form_urlencoded::byte_serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::model::Enrolment;
use crate::infra::Rng;

/// 160 bits, as long as the hash (RFC 4226 §4).
const BYTES: usize = 20;

/// What an authenticator app shows: six digits.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[0-9]{3} ?[0-9]{3}$", example = "492039")]
pub struct TotpCode(Zeroizing<String>);

/// What we and the app share.
pub(super) struct Secret(Zeroizing<[u8; BYTES]>);

impl TryFrom<String> for TotpCode {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let raw = Zeroizing::new(raw);
        // Apps show the digits in two groups.
        let plain = match raw.split_once(' ') {
            Some((first, second)) if raw.len() == 7 && first.len() == 3 => {
                Zeroizing::new([first, second].concat())
            }
            _ => raw,
        };
        let fits = plain.len() == 6 && plain.bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some(Self(plain)).ok_or("must be 6 digits")
    }
}

impl std::fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpCode([redacted])")
    }
}

impl Secret {
    pub(super) fn new(rng: &Rng) -> Self {
        Self(Zeroizing::new(rng.bytes()))
    }

    /// The secret of these bytes, if it is as long as ours are.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &*self.0
    }

    /// The thirty seconds that a code is of, if it is of these or of those beside them. Codes are
    /// compared in constant time.
    pub(super) fn step_of(&self, code: &TotpCode, now: DateTime<Utc>) -> Option<i64> {
        let time = u64::try_from(now.timestamp()).unwrap_or_default();
        let step = self.totp().check(&code.0, time)?;
        i64::try_from(step).ok()
    }

    /// What an app is told of this secret.
    pub(super) fn enrolment(&self, product: &str, account: &str) -> Result<Enrolment, QrError> {
        let secret = self.totp().secret().to_base32();
        let [product, account] = [product, account].map(escape);
        let otpauth_url = format!(
            "otpauth://totp/{product}:{account}?secret={secret}&issuer={product}&algorithm=SHA1&digits=6&period=30"
        );
        let code = QrCode::with_error_correction_level(&otpauth_url, EcLevel::M)?;
        Ok(Enrolment {
            secret,
            qr_svg: code
                .render::<svg::Color<'_>>()
                .module_dimensions(4, 4)
                .build(),
            otpauth_url,
        })
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

/// Percent-encodes a part of the address. Apps take a plus for a plus, not for a space.
fn escape(part: &str) -> String {
    byte_serialize(part.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    fn rfc() -> Secret {
        Secret::of(b"12345678901234567890").expect("it is long enough")
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
    fn a_code_is_six_digits_in_one_group_or_two() {
        let parse = |text: &str| TotpCode::try_from(text.to_owned()).map(|code| code.0.to_string());
        assert_eq!(parse("081804").as_deref(), Ok("081804"));
        assert_eq!(parse("081 804").as_deref(), Ok("081804"));
        for wrong in [
            "",
            "08180",
            "0818040",
            "08180a",
            "+81804",
            "08 1804",
            "０８１８０４",
            " 081804",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let code = TotpCode::try_from("081804".to_owned()).expect("it is a code");
        assert!(!format!("{code:?}").contains("081"));
    }

    #[test]
    fn an_address_survives_any_name() {
        let enrolment = rfc().enrolment("A&B: 50% + more", "ada+x@example.com");
        let url =
            url::Url::parse(&enrolment.expect("it is drawn").otpauth_url).expect("it is a URL");
        assert_eq!((url.scheme(), url.host_str()), ("otpauth", Some("totp")));
        assert_eq!(
            url.path(),
            "/A%26B%3A%2050%25%20%2B%20more:ada%2Bx%40example.com"
        );
        let pairs: Vec<_> = url.query_pairs().collect();
        assert_eq!(pairs[0].1, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(pairs[1].1, "A&B: 50% + more");
    }
}
