//! Recipients of optional emails, unsubscribing, and the suppression of addresses.

use email_transport::EmailAddress;
use serde_json::json;

use super::Error;
use super::model::UnsubscribeToken;
use crate::audit::Event;
use crate::consents::{self, OptionalKind, Source};
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::mail::{self, EmailMessage, SuppressionReason, Unsubscribe};
use crate::metrics;
use crate::state::AppState;
use crate::users;

/// Returns the user of a link, if it is for their address of today.
pub(super) async fn find_user(ctx: &Ctx, token: &UnsubscribeToken) -> Result<UserId, Error> {
    let found = users::find_own_credentials(&ctx.db, token.user_id).await?;
    let address = found.as_ref().map(|user| user.email.as_str());
    // Also computed for an unknown user.
    let is_good = token.is_for(&ctx.unsubscribe_macs, address.unwrap_or_default());
    if is_good && found.is_some() {
        return Ok(token.user_id);
    }
    Err(Error::UnknownLink)
}

/// Disables the kind of a link. Can be repeated.
pub(super) async fn unsubscribe(ctx: &Ctx, token: &UnsubscribeToken) -> Result<(), Error> {
    let user_id = find_user(ctx, token).await?;
    let mut tx = ctx.begin().await?;
    consents::record_choice(&mut tx, user_id, token.kind, false, Source::Unsubscribe).await?;
    tx.commit().await?;
    Ok(())
}

/// User who has asked for a kind of email, with a verified address.
#[derive(Clone, Debug)]
pub struct Recipient {
    user_id: UserId,
    kind: OptionalKind,
    address: EmailAddress,
}

/// Result of sending an optional email.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// The user has not asked for it, is disabled, or has no verified address.
    NotAsked,
    Suppressed(SuppressionReason),
}

/// Finds the recipient of an optional email. Called when the email is sent, not when it is enqueued, so that unsubscribing
/// also ends emails that wait.
pub async fn find_recipient(
    state: &AppState,
    user_id: UserId,
    kind: OptionalKind,
) -> Result<Option<Recipient>, sqlx::Error> {
    let is_given = consents::is_given(&state.db, user_id, kind).await?;
    let address = if is_given {
        users::find_active_address(&state.db, user_id).await?
    } else {
        None
    };
    if address.is_none() {
        tracing::info!(
            email = kind.as_str(),
            "email not sent: the user has not asked for it"
        );
        metrics::count_withheld_email("consent");
    }
    Ok(address.map(|address| Recipient {
        user_id,
        kind,
        address,
    }))
}

impl Recipient {
    /// Sends the email, unless the address is suppressed. A mailbox that does not exist becomes suppressed. `subject` is what
    /// the email is about, such as a month: one that is sent again has the same Message-ID, and mailboxes show it once.
    /// Without a subject it is another email each time.
    pub async fn send(
        &self,
        state: &AppState,
        message: &EmailMessage,
        subject: Option<&str>,
    ) -> Result<Outcome, mail::Error> {
        let address = self.address.as_str();
        let unsubscribe = Unsubscribe {
            url: self.unsubscribe_url(state),
            id: subject.map(|subject| self.message_id(state, subject)),
        };
        let sent = mail::send_optional(state, address, message, unsubscribe).await;
        match sent {
            Ok(None) => Ok(Outcome::Sent),
            Ok(Some(reason)) => Ok(Outcome::Suppressed(reason)),
            Err(error) if error.is_bounce() => {
                tracing::info!(%error, "the address is suppressed: its mailbox does not exist");
                let reason = SuppressionReason::Bounce;
                suppress(&Ctx::system(state), &self.address, reason).await?;
                Ok(Outcome::Suppressed(reason))
            }
            Err(error) => Err(error),
        }
    }

    fn unsubscribe_url(&self, state: &AppState) -> url::Url {
        let macs = &state.unsubscribe_macs;
        let token = UnsubscribeToken::new(macs, self.kind, self.user_id, self.address.as_str());
        let mut url = state.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let path = path.pop_if_empty();
            path.extend(["unsubscribe", &token.to_string()]);
        }
        url
    }

    /// Under a key, so that it shows no id of the user.
    fn message_id(&self, state: &AppState, subject: &str) -> [u8; 16] {
        let id = self.user_id.0.as_bytes();
        let parts = [
            &b"message id\0"[..],
            id,
            self.kind.as_str().as_bytes(),
            subject.as_bytes(),
        ];
        let mac = state.unsubscribe_macs.sign(&parts);
        std::array::from_fn(|at| mac[at])
    }
}

/// Adds an address to the suppression list, for a command or the webhook of a mail provider. A complaint also disables
/// all optional emails of its user. Returns false if it was on the list for this reason. Can be repeated.
pub async fn suppress(
    ctx: &Ctx,
    address: &EmailAddress,
    reason: SuppressionReason,
) -> Result<bool, sqlx::Error> {
    let mut tx = ctx.begin().await?;
    let user = users::find_credentials(&mut *tx, address).await?;
    let user_id = user.map(|user| user.user_id);
    let is_new = mail::suppress(ctx, &mut *tx, address.as_str(), reason).await?;
    if let Some(user_id) = user_id
        && reason == SuppressionReason::Complaint
    {
        for kind in OptionalKind::ALL {
            consents::record_choice(&mut tx, user_id, *kind, false, Source::Complaint).await?;
        }
    }
    if is_new {
        let detail = json!({ "reason": reason });
        tx.audit(Event::EmailSuppressed.about(user_id).detail(detail))
            .await?;
    }
    tx.commit().await?;
    Ok(is_new)
}

/// Removes an address from the suppression list; returns how many entries it had.
pub async fn unsuppress(ctx: &Ctx, address: &EmailAddress) -> Result<u64, sqlx::Error> {
    let mut tx = ctx.begin().await?;
    let user = users::find_credentials(&mut *tx, address).await?;
    let entries = mail::unsuppress(ctx, &mut *tx, address.as_str(), None).await?;
    if entries > 0 {
        let user_id = user.map(|user| user.user_id);
        tx.audit(Event::EmailUnsuppressed.about(user_id)).await?;
    }
    tx.commit().await?;
    Ok(entries)
}
