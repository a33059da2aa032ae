//! Makes the links that emails carry.

use std::time::Duration;

use url::Url;

use super::model::{NewLink, Purpose};
use super::store;
use crate::ids::UserId;
use crate::infra::{OpaqueToken, after};
use crate::state::AppState;
use crate::users::CredentialsVersion;

/// Replaces the previous link for this purpose; `None` if the credentials have changed since the request.
pub(crate) async fn issue(
    state: &AppState,
    (user_id, version): (UserId, CredentialsVersion),
    purpose: &Purpose,
    life: Duration,
) -> Result<Option<Url>, sqlx::Error> {
    let now = state.clock.now();
    let token = OpaqueToken::new(&state.rng);
    let link = NewLink {
        user_id,
        version,
        purpose,
        token: token.hash(),
        expires_at: after(now, life),
    };
    if !store::insert(&state.db, &link, now).await? {
        return Ok(None);
    }
    let page = match purpose {
        Purpose::VerifyEmail | Purpose::ChangeEmail(..) => "verify-email",
        Purpose::ResetPassword => "reset-password",
        Purpose::Unlock => "unlock",
    };
    Ok(Some(link_to(state, page, &token)))
}

/// The address of a page with a token. It is at the configured address, never at the host of the request
/// that caused the email. The token is in the fragment, which browsers do not send: no proxy, log or
/// `Referer` header gets it.
pub(crate) fn link_to(state: &AppState, page: &str, token: &OpaqueToken) -> Url {
    let mut link = state.mail.link_url.clone();
    if let Ok(mut path) = link.path_segments_mut() {
        path.pop_if_empty().push(page);
    }
    link.set_fragment(Some(&format!("token={}", token.encode())));
    link
}

pub(crate) fn whole_hours(life: Duration) -> u64 {
    life.as_secs().div_ceil(3_600)
}
