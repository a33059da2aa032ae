//! The job that erases, the emails about deletions, and the purge of books.

use chrono::{DateTime, TimeDelta, Utc};
use job_queue::Purges;

use super::error::Error;
use super::model::{Deferral, Deletion, DeletionEvent};
use super::steps::{self, Begun};
use super::store;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::mail::{self, EmailMessage, email_jobs};
use crate::metrics::{self, Erasure};
use crate::privacy::holds;
use crate::scope;
use crate::state::AppState;
use crate::{billing, organisations, payments, plans, users};

/// How long before the end the owner is reminded.
const REMINDER: TimeDelta = TimeDelta::days(3);

/// Reminders of one transaction.
const REMINDED_AT_ONCE: i64 = 500;

/// Time for which a process works on one user alone, and after which another one takes over.
const LEASE: TimeDelta = TimeDelta::minutes(30);

/// Until an erasure that was deferred or has failed is tried again.
const RETRY: TimeDelta = TimeDelta::hours(1);

/// Between looks for rows about a user who is gone.
const SETTLE: TimeDelta = TimeDelta::hours(12);

/// How long the email about the end is tried.
const EMAIL_TRIED: TimeDelta = TimeDelta::days(2);

email_jobs! {
    /// To the owner of the account, as long as there is one.
    NotifyDeletion "privacy.notify_deletion" { user_id: UserId, event: DeletionEvent, erase_at: DateTime<Utc> }
}

impl NotifyDeletion {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        let recipient = users::find_own_credentials(&state.db, self.user_id).await?;
        let Some(recipient) = recipient else {
            return Ok(());
        };
        let message = message(self.event, self.erase_at);
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}

fn message(event: DeletionEvent, erase_at: DateTime<Utc>) -> EmailMessage {
    EmailMessage::AccountDeletion {
        event: event.name(),
        erased_on: erase_at.format("%-d %B %Y").to_string(),
    }
}

job_queue::jobs! {
    /// Runs every ten minutes: erases the users whose time has come.
    EraseDue "privacy.erase_due" => erase_due;
    /// Runs daily: deletes books that are past their retention.
    PurgeBooks "privacy.purge_books" => purge_books;
}

/// One user never keeps the others from being erased.
pub(super) async fn erase_due(state: &AppState) -> Result<(), Error> {
    let ctx = Ctx::system(state);
    holds::release_ended(&ctx).await?;
    remind(&ctx).await?;
    loop {
        let now = ctx.now();
        let due = store::take_due(&ctx.db, now, now + LEASE).await?;
        let Some(mut deletion) = due else {
            return Ok(());
        };
        let user_id = deletion.user_id;
        if let Err(error) = work_on(&ctx, &mut deletion).await {
            tracing::error!(%user_id, %error, "an erasure has failed and is tried again in an hour");
            metrics::count_erasure(Erasure::Failed);
            store::set_next_attempt(&ctx.db, user_id, ctx.now() + RETRY, None).await?;
        }
    }
}

async fn remind(ctx: &Ctx) -> Result<(), Error> {
    let now = ctx.now();
    loop {
        let mut tx = ctx.begin().await?;
        let before = now + REMINDER;
        let due = store::take_reminders(&mut *tx, before, now, REMINDED_AT_ONCE).await?;
        for (user_id, erase_at) in &due {
            let job = NotifyDeletion::to(*user_id, DeletionEvent::Reminder, *erase_at);
            job_queue::enqueue(&mut *tx, &job, None).await?;
        }
        tx.commit().await?;
        if due.is_empty() {
            return Ok(());
        }
    }
}

async fn work_on(ctx: &Ctx, deletion: &mut Deletion) -> Result<(), Error> {
    if deletion.erased_at.is_none() {
        if deletion.started_at.is_none() {
            match steps::begin(ctx, deletion.user_id).await? {
                Begun::Started => {}
                Begun::Deferred(reason) => return defer(ctx, deletion.user_id, reason).await,
                Begun::Gone => return Ok(store::delete(&ctx.db, deletion.user_id).await?),
                Begun::Canceled => return Ok(()),
            }
        }
        // Boxed, since the future of all steps is large.
        Box::pin(steps::erase(ctx, deletion)).await?;
        metrics::count_erasure(Erasure::Erased);
    }
    Box::pin(steps::settle(ctx, deletion)).await?;
    send_last_email(ctx, deletion).await?;
    let (now, erased_at) = (ctx.now(), deletion.erased_at.unwrap_or_default());
    if steps::settled_at(erased_at) <= now {
        return Ok(store::delete(&ctx.db, deletion.user_id).await?);
    }
    let wait = if deletion.email.is_some() {
        RETRY
    } else {
        SETTLE
    };
    Ok(store::set_next_attempt(&ctx.db, deletion.user_id, now + wait, None).await?)
}

async fn defer(ctx: &Ctx, user_id: UserId, reason: Deferral) -> Result<(), Error> {
    tracing::warn!(%user_id, reason = reason.as_str(), "an erasure is deferred");
    metrics::count_erasure(Erasure::Deferred);
    Ok(store::set_next_attempt(&ctx.db, user_id, ctx.now() + RETRY, Some(reason)).await?)
}

/// Sends the email about the end, which may be sent twice after a crash, and removes the address.
async fn send_last_email(ctx: &Ctx, deletion: &mut Deletion) -> Result<(), Error> {
    let Some(email) = &deletion.email else {
        return Ok(());
    };
    let erased_at = deletion.erased_at.unwrap_or_default();
    let message = message(DeletionEvent::Erased, erased_at);
    let is_final = match mail::send(ctx, email, &message).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the email about an erasure is not sent");
            error.is_permanent() || erased_at + EMAIL_TRIED <= ctx.now()
        }
    };
    if is_final {
        store::remove_email(&ctx.db, deletion.user_id).await?;
        deletion.email = None;
    }
    Ok(())
}

/// Payments before the subscriptions that they name.
async fn purge_books(state: &AppState) -> Result<(), job_queue::JobError> {
    let before = clock::before(state.clock.now(), state.erasure.books_retention);
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges
        .run("payments of former accounts", |conn, most| {
            Box::pin(payments::delete_books(conn, before, most))
        })
        .await;
    purges
        .run("subscriptions of former accounts", |conn, most| {
            Box::pin(plans::delete_books(conn, before, most))
        })
        .await;
    purges
        .run("invoices of former accounts", |conn, most| {
            Box::pin(billing::delete_books(conn, before, most))
        })
        .await;
    purges
        .run("former accounts", |conn, most| {
            Box::pin(organisations::delete_empty_books(conn, most))
        })
        .await;
    Ok(purges.finish()?)
}
