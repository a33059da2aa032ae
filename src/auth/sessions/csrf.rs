//! CSRF protection of requests that cookies authenticate: the origin, and a token of the session.

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::auth::error::Error;
use crate::ids::SessionId;
use crate::infra::MacRing;
use crate::state::AppState;
use crate::web::Problem;

pub(crate) const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

/// Session id and its HMAC: nothing is stored, and the token is valid as long as the session.
pub(crate) fn token(macs: &MacRing, session: SessionId) -> String {
    let mut bytes = [0; ID_BYTES + TAG_BYTES];
    let (id, tag) = bytes.split_at_mut(ID_BYTES);
    id.copy_from_slice(session.0.as_bytes());
    tag.copy_from_slice(&macs.sign(&[id]));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn session_of(macs: &MacRing, token: &[u8]) -> Option<SessionId> {
    let mut bytes = [0; ID_BYTES + TAG_BYTES];
    let length = BASE64_URL_SAFE_NO_PAD
        .decode_slice(token, &mut bytes)
        .ok()?;
    let (id, tag) = bytes[..length].split_at_checked(ID_BYTES)?;
    macs.verifies(id, tag)
        .then(|| Uuid::from_slice(id).ok().map(SessionId))
        .flatten()
}

pub(crate) fn check_origin(state: &AppState, headers: &HeaderMap) -> Result<(), Problem> {
    if state.own_origins.vouch_for(headers) {
        return Ok(());
    }
    Err(Error::ForeignPage.into())
}

/// Checks origin and token; returns the token's session, which the caller compares with that of the cookies.
pub(crate) fn check(state: &AppState, headers: &HeaderMap) -> Result<SessionId, Problem> {
    check_origin(state, headers)?;
    let mut lines = headers.get_all(X_CSRF_TOKEN).iter();
    let (Some(token), None) = (lines.next(), lines.next()) else {
        return Err(Error::NoCsrfToken.into());
    };
    session_of(&state.csrf_macs, token.as_bytes()).ok_or_else(|| Error::ForeignSession.into())
}

/// Checks a request whose cookies are of `session`.
pub(crate) fn check_in(
    state: &AppState,
    headers: &HeaderMap,
    session: SessionId,
) -> Result<(), Problem> {
    if check(state, headers)? == session {
        return Ok(());
    }
    Err(Error::ForeignSession.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key32;

    fn ring(bytes: &[u8]) -> MacRing {
        let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
        MacRing::derived(&keys, "csrf token key")
    }

    #[test]
    fn a_token_names_its_session_and_is_good_under_a_key_of_the_ring_alone() {
        let [key, other, both] = [&[1][..], &[2], &[2, 1]].map(ring);
        let [ada, grace] = [1, 2].map(|id| SessionId(Uuid::from_u128(id)));
        let made = token(&key, ada);
        assert_eq!(made.len(), 64);
        assert_eq!(made, token(&key, ada));
        assert_ne!(made, token(&key, grace));
        assert_eq!(session_of(&key, made.as_bytes()), Some(ada));
        assert_eq!(session_of(&both, made.as_bytes()), Some(ada));
        assert_eq!(session_of(&other, made.as_bytes()), None);
    }

    #[test]
    fn a_token_that_was_tampered_with_is_nobodys() {
        let key = ring(&[1]);
        let [ada, grace] = [1, 2].map(|id| token(&key, SessionId(Uuid::from_u128(id))));
        let swapped = format!("{}{}", &grace[..22], &ada[22..]);
        for wrong in [
            "",
            "x",
            &ada[..22],
            &ada[..63],
            &format!("{ada}A"),
            &format!("{ada}AAAA"),
            &swapped,
            &ada.to_lowercase(),
            &"A".repeat(64),
        ] {
            assert_eq!(session_of(&key, wrong.as_bytes()), None, "{wrong}");
        }
    }
}
