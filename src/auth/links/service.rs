//! Emails with one-time links.

use clock::after;
use email_transport::EmailAddress;
use session_tokens::OpaqueToken;
use url::Url;

use super::model::{NewLink, Purpose};
use super::store;
use crate::ctx::Tx;
use crate::ids::UserId;
use crate::mail::{self, EmailMessage, JobError, SuppressionReason};
use crate::state::AppState;
use crate::users::CredentialsVersion;

/// Replaces the previous link for this purpose and emails it, unless the credentials have changed since the request.
pub(crate) async fn send(
    state: &AppState,
    to: &EmailAddress,
    (user_id, version): (UserId, CredentialsVersion),
    purpose: &Purpose,
) -> Result<(), JobError> {
    let (page, life) = match purpose {
        Purpose::VerifyEmail | Purpose::ChangeEmail(..) => {
            ("verify-email", state.auth.verify_email_ttl)
        }
        Purpose::ResetPassword => ("reset-password", state.auth.reset_password_ttl),
        Purpose::Unlock => ("unlock", state.attempts.unlock_ttl),
    };
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
        return Ok(());
    }
    let link = link_to(state, page, &token);
    let minutes = life.as_secs().div_ceil(60);
    let hours = life.as_secs().div_ceil(3_600);
    let message = match purpose {
        Purpose::VerifyEmail => EmailMessage::VerifyEmail { link, hours },
        Purpose::ChangeEmail(..) => EmailMessage::ConfirmNewEmail { link, hours },
        Purpose::ResetPassword => EmailMessage::ResetPassword { link, minutes },
        Purpose::Unlock => EmailMessage::Unlock { link, minutes },
    };
    Ok(mail::send(state, to.as_str(), &message).await?)
}

/// Called when a link from an email is used: the mailbox works, and earlier bounces do not count any more.
pub(crate) async fn accept_emails_again(
    tx: &mut Tx<'_>,
    address: &EmailAddress,
) -> Result<(), sqlx::Error> {
    let (ctx, reason) = (tx.ctx(), SuppressionReason::Bounce);
    mail::unsuppress(ctx, &mut **tx, address.as_str(), Some(reason)).await?;
    Ok(())
}

/// The address of a page with a token. The token is in the fragment, which browsers do not send: no proxy, log or
/// `Referer` header gets it.
pub(crate) fn link_to(state: &AppState, page: &str, token: &OpaqueToken) -> Url {
    let mut link = mail::page_link(state, page);
    link.set_fragment(Some(&format!("token={}", token.encode())));
    link
}
