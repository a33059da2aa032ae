//! The `Authorization: Bearer` header (RFC 6750 §2.1).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The bearer token. `None` unless there is exactly one `Authorization` header, with a token.
#[must_use]
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let token = bearer(credentials.next()?.as_bytes());
    token.filter(|_| credentials.next().is_none())
}

/// Returns whether the request has `Authorization: Bearer`, with a valid token or not. Other schemes are for
/// a proxy in front of the service, such as the `Basic` of a staging site. Browsers add them by
/// themselves, so they neither authenticate a request nor replace its cookies.
#[must_use]
pub fn has_bearer(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|line| {
        let mut parts = line
            .as_bytes()
            .splitn(2, |byte| matches!(byte, b' ' | b'\t'));
        let scheme = parts.next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer")
    })
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer(credential: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(credential).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_bearer_scheme_is_read() {
        let lines = |lines: &[&[u8]]| {
            let values = lines.iter().map(|line| HeaderValue::from_bytes(line));
            let pairs = values.map(|value| (AUTHORIZATION, value.expect("it is a value")));
            pairs.collect::<HeaderMap>()
        };
        for ours in [
            &[&b"Bearer abc"[..]][..],
            &[b"bEARER abc"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer\tabc"],
            &[b"Bearer \xff"],
            &[b"Basic abc", b"Bearer abc"],
        ] {
            assert!(has_bearer(&lines(ours)), "{ours:?}");
        }
        for other in [
            &[][..],
            &[&b""[..]],
            &[b"Basic YTpi"],
            &[b"Basic abc, Bearer def"],
            &[b"Digest username=\"bearer\""],
            &[b"Negotiate abc", b"Basic YTpi"],
            &[b"Bearerabc"],
            &[b"abc"],
            &[b"\xff"],
        ] {
            assert!(!has_bearer(&lines(other)), "{other:?}");
        }
    }

    #[test]
    fn the_scheme_is_any_case_and_the_token_is_not_empty() {
        assert_eq!(bearer(b"Bearer abc.def"), Some("abc.def"));
        assert_eq!(bearer(b"bEARER  abc"), Some("abc"));
        for wrong in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Basic abc",
            b"abc",
            b"",
            b"Bearer \xff",
        ] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
