//! Emails about organisations, the daily purge, and the daily check of seats.

use chrono::{DateTime, Utc};
use job_queue::{Expired, JobError, Purges};
use serde::{Deserialize, Serialize};

use super::store::invitations::EXPIRED;
use super::store::{self, members};
use crate::audit::Event;
use crate::ctx::{Ctx, Tx};
use crate::ids::{AccountId, UserId};
use crate::mail::{self, EmailMessage, email_jobs};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users;

/// Organisations of one purge.
const PURGED_AT_ONCE: i64 = 100;

/// Subject of an email to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberEvent {
    Joined,
    Left,
    Removed,
    RoleChanged,
    Transferred,
    Deleted,
    Restored,
    SeatsExceeded,
}

email_jobs! {
    /// To one member, about another one or the organisation.
    NotifyMember "organisations.notify_member" {
        user_id: UserId,
        account_id: AccountId,
        event: MemberEvent,
        about: UserId
    }
}

impl NotifyMember {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        let now = state.clock.now();
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let named = store::find_name(&mut *tx, self.account_id).await?;
        let recipient = users::find_own_credentials(&mut *tx, self.user_id).await?;
        let about = users::find_own_credentials(&mut *tx, self.about).await?;
        let keys = match self.event {
            MemberEvent::Left => {
                members::list_key_hints(&mut *tx, self.account_id, self.about, now).await?
            }
            _ => Vec::new(),
        };
        tx.commit().await?;
        let (Some((organisation, deleted_at)), Some(recipient)) = (named, recipient) else {
            return Ok(());
        };
        let purged_at = deleted_at.map(|at| at + state.organisations.deletion_grace);
        let about = about.map_or_else(String::new, |about| about.email.as_str().to_owned());
        let message = EmailMessage::OrganisationNotice {
            organisation,
            event: self.event.name(),
            about,
            purged_on: purged_at.map(|at| at.format("%-d %B %Y").to_string()),
            keys,
        };
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}

impl MemberEvent {
    /// Name in the template.
    const fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::RoleChanged => "role_changed",
            Self::Transferred => "transferred",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::SeatsExceeded => "seats_exceeded",
        }
    }
}

/// Enqueues an email to each of these users.
pub(super) async fn notify(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    recipients: impl IntoIterator<Item = UserId>,
    event: MemberEvent,
    about: UserId,
) -> Result<(), sqlx::Error> {
    for user_id in recipients {
        let job = NotifyMember::to(user_id, account_id, event, about);
        job_queue::enqueue(&mut **tx, &job, None).await?;
    }
    Ok(())
}

/// Enqueues an email to each owner.
pub(super) async fn notify_owners(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    event: MemberEvent,
    about: UserId,
) -> Result<(), sqlx::Error> {
    let owners = members::list_owners(&mut **tx, account_id).await?;
    notify(tx, account_id, owners, event, about).await
}

job_queue::jobs! {
    /// Runs daily: deletes organisations, former slugs and invitations that are past their time.
    PurgeOrganisations "organisations.purge" => purge;
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    let kept = state.organisations.invitation_retention;
    [(EXPIRED, clock::before(state.clock.now(), kept))]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let (ctx, now) = (Ctx::system(state), state.clock.now());
    loop {
        let before = now - state.organisations.deletion_grace;
        let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
        let purged = store::purge(&mut *tx, before, PURGED_AT_ONCE).await?;
        for id in &purged {
            tx.audit(Event::OrganisationPurged.in_account(*id)).await?;
        }
        tx.commit().await?;
        if purged.is_empty() {
            break;
        }
    }
    let replaced_before = now - state.organisations.slug_grace;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges
        .run("former slugs", |conn, most| {
            Box::pin(store::delete_former_slugs(conn, replaced_before, most))
        })
        .await;
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
