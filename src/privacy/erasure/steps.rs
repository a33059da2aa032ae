//! The steps of an erasure. Each deletes what it finds, so that all of them can be repeated after a crash.

use chrono::{DateTime, TimeDelta, Utc};
use job_queue::{OwnedRows, Purges};

use super::error::Error;
use super::list;
use super::model::{Deferral, Deletion, is_last_admin};
use super::store;
use crate::audit::{self, Event};
use crate::auth::{self, EndReason};
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::privacy::{exports, holds};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::{
    api_keys, billing, customers, events, files, idempotency, organisations, payments, plans,
    secrets, usage, users,
};

/// How long rows about a user who is gone are looked for again: Stripe repeats a webhook for three days, and a process may
/// have counted requests that it has not written.
pub(super) const SETTLED: TimeDelta = TimeDelta::days(4);

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// Result of the first step of an erasure that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Started,
    Deferred(Deferral),
    /// There is no such user, such as an unverified one that was purged.
    Gone,
    /// The deletion was canceled since it was taken.
    Canceled,
}

/// Marks the user as deleted, unless the erasure has to wait.
pub(super) async fn begin(ctx: &Ctx, user_id: UserId) -> Result<Begun, Error> {
    let now = ctx.now();
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    organisations::lock_owned(&mut *tx, user_id).await?;
    let (account, admins) = match users::lock_account_and_admins(&mut *tx, user_id).await {
        Err(users::Error::NotFound) => return Ok(Begun::Gone),
        found => found?,
    };
    // A cancellation holds the lock of the user. There may be another request since then.
    let waiting = store::find(&mut *tx, user_id).await?;
    if waiting.is_none_or(|it| it.erase_at > now) {
        return Ok(Begun::Canceled);
    }
    if holds::is_held(&mut *tx, user_id).await? {
        return Ok(Begun::Deferred(Deferral::LegalHold));
    }
    if is_last_admin(&account, &admins) {
        return Ok(Begun::Deferred(Deferral::LastAdmin));
    }
    let solely_owned = organisations::list_solely_owned(&mut *tx, user_id, 1).await?;
    if !solely_owned.is_empty() {
        return Ok(Begun::Deferred(Deferral::LastOwner));
    }
    let open = payments::find_open(&mut *tx, user_id.personal_account()).await?;
    if open.in_progress {
        return Ok(Begun::Deferred(Deferral::PaymentInProgress));
    }
    if open.disputed {
        return Ok(Begun::Deferred(Deferral::PaymentDisputed));
    }
    let change = auth::begin_credentials_change(&mut tx, user_id, None).await?;
    let Some(change) = change else {
        return Ok(Begun::Gone);
    };
    let why = EndReason::AccountDisabled;
    let ended = auth::end_sessions(&mut *tx, &change, None, why, now).await?;
    // A key does not work without its creator, and organisations need theirs from now on.
    api_keys::give_to_owners(&mut *tx, user_id).await?;
    users::begin_erasure(&mut *tx, &change, now).await?;
    store::start(&mut *tx, user_id, now).await?;
    tx.commit().await?;
    auth::revoke_access_tokens(ctx, ended, now);
    Ok(Begun::Started)
}

/// Everything that belongs to the user, and at last the user.
pub(super) async fn erase(ctx: &Ctx, deletion: &mut Deletion) -> Result<(), Error> {
    let user_id = deletion.user_id;
    // First, so that a restore from now on is followed by another erasure.
    list::add(ctx, user_id).await?;
    delete_customer(ctx, deletion).await?;
    delete_objects(ctx, user_id).await?;
    delete_rows(ctx, deletion).await?;
    move_books(ctx, deletion).await?;
    clear_caches(ctx, user_id).await?;
    delete_jobs(ctx, deletion).await?;
    finish(ctx, deletion).await?;
    Ok(())
}

/// Deletes rows, objects and jobs that were stored after the user was deleted.
pub(super) async fn settle(ctx: &Ctx, deletion: &Deletion) -> Result<(), Error> {
    delete_objects(ctx, deletion.user_id).await?;
    delete_rows(ctx, deletion).await?;
    delete_jobs(ctx, deletion).await
}

async fn delete_customer(ctx: &Ctx, deletion: &mut Deletion) -> Result<(), Error> {
    let account_id = deletion.user_id.personal_account();
    let Some(customer) = customers::locate(ctx, account_id).await? else {
        return Ok(());
    };
    let mut tx = ctx.begin().await?;
    store::set_customer(&mut *tx, deletion.user_id, &customer).await?;
    tx.commit().await?;
    deletion.stripe_customer_id = Some(customer);
    Ok(billing::delete_customer(ctx, account_id).await?)
}

async fn delete_objects(state: &AppState, user_id: UserId) -> Result<(), Error> {
    let Some(storage) = &state.storage else {
        return Ok(());
    };
    let files = files::prefixes_of(user_id.personal_account());
    let others = [
        users::avatar_prefix_of(user_id),
        exports::prefix_of(user_id),
    ];
    for prefix in files.into_iter().chain(others) {
        loop {
            let page = storage.list(&prefix, None, PAGE).await?;
            for object in &page.objects {
                storage.delete(&object.key).await?;
            }
            if page.next.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Tables whose rows are deleted in batches: those that may have many. The rest goes with the user.
fn owned_rows() -> Vec<OwnedRows> {
    let mut all = Vec::new();
    all.extend(events::ERASED);
    all.extend(usage::ERASED);
    all.extend(files::ERASED);
    all.extend(secrets::ERASED);
    all.extend(idempotency::ERASED);
    all.extend(billing::ERASED);
    all.extend(organisations::ERASED);
    all.extend(api_keys::ERASED);
    all.extend(auth::ERASED.as_flattened());
    all
}

async fn delete_rows(state: &AppState, deletion: &Deletion) -> Result<(), Error> {
    let user_id = deletion.user_id;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    for rows in owned_rows() {
        // The compaction of usage replaces rows by others that a statement does not see which began before.
        let passes_without_rows = if rows.table() == usage::TABLE { 2 } else { 1 };
        let mut empty = 0;
        while empty < passes_without_rows {
            let deleted = purges
                .run(rows.table(), |conn, most| {
                    Box::pin(rows.delete(conn, user_id.0, most))
                })
                .await;
            let is_last = deleted == 0 || passes_without_rows == 1;
            empty = if is_last { empty + 1 } else { 0 };
        }
    }
    purges
        .run("payers", |conn, most| {
            Box::pin(payments::remove_payer(conn, user_id, most))
        })
        .await;
    purges
        .run("buyers", |conn, most| {
            Box::pin(plans::remove_buyer(conn, user_id, most))
        })
        .await;
    purges
        .run("audit details", |conn, most| {
            Box::pin(async move {
                let most = i32::try_from(most).unwrap_or(i32::MAX);
                let changed = audit::erase_details(conn, user_id, most).await?;
                Ok(u64::try_from(changed).unwrap_or_default())
            })
        })
        .await;
    if let Some(customer) = &deletion.stripe_customer_id {
        purges
            .run("webhook events", |conn, most| {
                let customer = customer.clone();
                Box::pin(async move { billing::delete_events(conn, &customer, most).await })
            })
            .await;
    }
    Ok(purges.finish()?)
}

/// Payments, before the subscriptions that they name, and invoices.
async fn move_books(ctx: &Ctx, deletion: &Deletion) -> Result<(), Error> {
    let (account_id, books) = (deletion.user_id.personal_account(), deletion.books_id);
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    if billing::has_books(&mut *tx, account_id).await? {
        organisations::insert_books(&mut *tx, books, ctx.now()).await?;
    }
    tx.commit().await?;
    let begin = scope::begin_job(ctx.job_statement_timeout);
    let mut purges = Purges::new(&ctx.db, begin);
    purges
        .run("payments moved to the books", |conn, most| {
            Box::pin(payments::move_to_books(conn, account_id, books, most))
        })
        .await;
    purges
        .run("subscriptions moved to the books", |conn, most| {
            Box::pin(plans::move_to_books(conn, account_id, books, most))
        })
        .await;
    purges
        .run("invoices moved to the books", |conn, most| {
            Box::pin(billing::move_invoices(conn, account_id, books, most))
        })
        .await;
    Ok(purges.finish()?)
}

async fn clear_caches(ctx: &Ctx, user_id: UserId) -> Result<(), Error> {
    if let Some(email) = users::find_erased_address(&ctx.db, user_id).await? {
        auth::clear_counts(ctx, user_id, &email).await;
    }
    plans::changed(ctx, user_id.personal_account()).await;
    Ok(())
}

/// Jobs that name the user, their customer or their address. Those that run now are found by the next attempt.
async fn delete_jobs(ctx: &Ctx, deletion: &Deletion) -> Result<(), Error> {
    let email = users::find_erased_address(&ctx.db, deletion.user_id).await?;
    let mut values = vec![deletion.user_id.to_string()];
    values.extend(deletion.stripe_customer_id.clone());
    values.extend(email.map(|email| email.as_str().to_owned()));
    job_queue::delete_jobs(&ctx.db, &values, None).await?;
    Ok(())
}

/// Deletes the user, and with it all rows that refer to it. An invoice or payment that was stored since the last step makes
/// it fail, and is moved by the next attempt.
async fn finish(ctx: &Ctx, deletion: &mut Deletion) -> Result<(), Error> {
    let (user_id, now) = (deletion.user_id, ctx.now());
    let account_id = user_id.personal_account();
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    organisations::lock_owned(&mut *tx, user_id).await?;
    let Some(email) = users::find_erased_address(&mut *tx, user_id).await? else {
        return Ok(());
    };
    // Waits for a read of Stripe that stores its objects, and makes later ones fail.
    customers::delete(&mut *tx, account_id).await?;
    if billing::has_books(&mut *tx, account_id).await? {
        return Err(sqlx::Error::RowNotFound.into());
    }
    for left in organisations::remove_member(&mut *tx, user_id, &email).await? {
        let entry = Event::MemberLeft.in_account(left).about(user_id);
        tx.audit(entry).await?;
    }
    users::delete_erased(&mut *tx, user_id).await?;
    tx.audit(Event::AccountErased.about(user_id)).await?;
    let recipient = deletion.is_notified.then(|| email.as_str().to_owned());
    store::finish(&mut *tx, user_id, recipient.as_deref(), now).await?;
    tx.commit().await?;
    deletion.email = recipient;
    deletion.erased_at = Some(now);
    Ok(())
}

/// When the row of a deletion is deleted.
pub(super) fn settled_at(erased_at: DateTime<Utc>) -> DateTime<Utc> {
    erased_at + SETTLED
}
