//! Signature of a webhook: HMAC-SHA256 over the time and the raw body, as Stripe describes it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// Difference between the time of the signature and ours, in seconds, both ways.
const TOLERANCE: u64 = 300;

/// Signatures read of one header. Stripe sends one for each secret of the endpoint.
const MAX_SIGNATURES: usize = 16;

/// Returns whether one of the signatures in a `Stripe-Signature` header is made with one of the secrets, within 300
/// seconds of `now`, in seconds since 1970.
#[must_use]
pub fn is_signed(header: &str, body: &[u8], secrets: &[SecretString], now: i64) -> bool {
    let parts = || {
        header
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
    };
    let time = parts().find(|(name, _)| *name == "t").map(|(_, time)| time);
    let Some(time) = time else {
        return false;
    };
    let is_recent = time
        .parse::<i64>()
        .is_ok_and(|time| now.abs_diff(time) <= TOLERANCE);
    if !is_recent {
        return false;
    }
    let signatures: Vec<_> = parts()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, text)| decode(text))
        .take(MAX_SIGNATURES)
        .collect();
    secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in [time.as_bytes(), b".", body] {
            context.update(part);
        }
        let expected = context.sign();
        let mut all = signatures.iter();
        all.any(|signature| verify_slices_are_equal(expected.as_ref(), signature).is_ok())
    })
}

/// 32 bytes in hexadecimal.
fn decode(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn signature(secret: &str, time: &str, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
        let mut digits = String::new();
        for byte in tag.as_ref() {
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }

    fn accepts(header: &str) -> bool {
        let secrets = ["whsec_new".into(), "whsec_old".into()];
        is_signed(header, b"{}", &secrets, NOW)
    }

    #[test]
    fn any_signature_of_either_secret_is_accepted() {
        let time = NOW.to_string();
        let [new, old, other] =
            ["whsec_new", "whsec_old", "whsec_x"].map(|secret| signature(secret, &time, "{}"));
        assert!(accepts(&format!("t={NOW},v1={new}")));
        assert!(accepts(&format!("t={NOW},v1={old}")));
        assert!(accepts(&format!("t={NOW},v0=00,v1={other},v1={new}")));
        assert!(!accepts(&format!("t={NOW},v1={other}")));
        assert!(!accepts(&format!("t={NOW},v0={new}")));
        assert!(!accepts(&format!("v1={new}")));
        assert!(!accepts(&format!("t={NOW},v1={}", &new[..62])));
        assert!(!accepts(&format!("t={NOW},v1={}é", &new[..62])));
        assert!(!accepts(""));
        assert!(!is_signed(
            &format!("t={NOW},v1={new}"),
            b"{ }",
            &["whsec_new".into()],
            NOW
        ));
        assert!(!is_signed(&format!("t={NOW},v1={new}"), b"{}", &[], NOW));
    }

    #[test]
    fn the_time_may_differ_by_five_minutes() {
        for (offset, expected) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let time = (NOW + offset).to_string();
            let header = format!("t={time},v1={}", signature("whsec_new", &time, "{}"));
            assert_eq!(accepts(&header), expected, "{offset}");
        }
        let header = format!("t=now,v1={}", signature("whsec_new", "now", "{}"));
        assert!(!accepts(&header));
    }
}
