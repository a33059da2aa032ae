//! Numbers of a summary, and its delivery.

use clock::Month;

use super::model::{grouped, name};
use super::store;
use crate::consents::OptionalKind;
use crate::email_preferences::{self, Outcome};
use crate::events;
use crate::ids::{AccountId, UserId};
use crate::mail::{AccountUsage, EmailMessage, JobError};
use crate::organisations;
use crate::plans;
use crate::roles::Permission;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::usage;

const KIND: OptionalKind = OptionalKind::UsageSummary;

/// Sends a summary that waits. One whose worker was killed between the mail server's reply and the commit is sent again, with
/// the same Message-ID, by which mailboxes recognise it.
pub(super) async fn send_waiting(
    state: &AppState,
    user_id: UserId,
    month: Month,
) -> Result<(), JobError> {
    if !state.mail.usage_summary || !store::is_waiting(&state.db, user_id, month).await? {
        return Ok(());
    }
    match send(state, user_id, month, false).await? {
        Outcome::Sent => store::set_sent(&state.db, user_id, month, state.clock.now()).await?,
        Outcome::NotAsked => store::delete_waiting(&state.db, user_id, month).await?,
        Outcome::Suppressed(_) => {}
    }
    Ok(())
}

/// Sends a summary. `is_extra` if it may have been sent before and is to be shown again.
pub(super) async fn send(
    state: &AppState,
    user_id: UserId,
    month: Month,
    is_extra: bool,
) -> Result<Outcome, JobError> {
    let Some(recipient) = email_preferences::find_recipient(state, user_id, KIND).await? else {
        return Ok(Outcome::NotAsked);
    };
    let message = EmailMessage::UsageSummary {
        month: name(month),
        accounts: summarise(state, user_id, month).await?,
    };
    let subject = month.first_day().to_string();
    let subject = Some(subject.as_str()).filter(|_| !is_extra);
    Ok(recipient.send(state, &message, subject).await?)
}

/// Usage of the personal account and of the organisations whose usage the user may read.
async fn summarise(
    state: &AppState,
    user_id: UserId,
    month: Month,
) -> Result<Vec<AccountUsage>, JobError> {
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let organisations = organisations::list_of_user(&mut *tx, user_id).await?;
    tx.commit().await?;
    let readable = organisations
        .into_iter()
        .filter(|it| it.role.permissions().has(Permission::UsageRead))
        .map(|it| (it.account_id, Some(it.name)));
    let mut usage = Vec::new();
    for (account_id, organisation) in [(user_id.personal_account(), None)]
        .into_iter()
        .chain(readable)
    {
        usage.push(of_account(state, account_id, organisation, month).await?);
    }
    Ok(usage)
}

async fn of_account(
    state: &AppState,
    account_id: AccountId,
    organisation: Option<String>,
    month: Month,
) -> Result<AccountUsage, JobError> {
    let plan = plans::plan_of(state, account_id).await?;
    let mut tx = scope::begin(&state.db, Scope::Account(account_id)).await?;
    let requests = usage::find_total(&mut *tx, account_id, month.first_day()).await?;
    let events = events::stored_in(&mut *tx, account_id, month).await?.events;
    tx.commit().await?;
    let quota = plan.tier(&state.plans).quota;
    Ok(AccountUsage {
        organisation,
        plan: plan.name(),
        requests: grouped(requests),
        request_quota: quota.map(|quota| grouped(quota.requests.into())),
        events: grouped(events),
    })
}
