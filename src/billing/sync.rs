//! Convergence: reads what is true of a customer at Stripe, and stores that.
//!
//! Reads are numbered as they begin. One that ends after a later one is stored is repeated, so that a slow read never
//! replaces a newer one.

use stripe_client::billing::invoice::ListInvoice;
use stripe_client::billing::subscription::{ListSubscription, ListSubscriptionStatus};
use stripe_client::core::customer::{RetrieveCustomer, RetrieveCustomerReturned};
use stripe_client::shared::{CustomerId, Invoice, Subscription};
use stripe_client::{CallError, Listed, Stripe};

use super::error::Error;
use super::invoices::provided_invoice;
use super::notices::{self, Fact};
use super::queue::EndDuplicate;
use super::store;
use super::subscriptions::{self, checkout_of};
use crate::audit::Event;
use crate::config::PlansConfig;
use crate::ctx::{Ctx, Tx};
use crate::ids::{AccountId, CheckoutId, InvoiceId, SubscriptionId, UserId};
use crate::payments::{self, ReadPayments};
use crate::plans::{self, ProvidedSubscription, SubscriptionStatus};
use crate::scope::{Exception, Scope};
use crate::{customers, organisations};

/// Kinds of objects to read, each one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Areas {
    pub subscriptions: bool,
    pub invoices: bool,
    pub payments: bool,
}

impl Areas {
    pub(super) const ALL: Self = Self {
        subscriptions: true,
        invoices: true,
        payments: true,
    };

    pub(super) const SUBSCRIPTIONS: Self = Self {
        subscriptions: true,
        invoices: false,
        payments: false,
    };

    pub(super) const PAYMENTS: Self = Self {
        subscriptions: false,
        invoices: false,
        payments: true,
    };

    pub(super) const fn union(self, other: Self) -> Self {
        Self {
            subscriptions: self.subscriptions || other.subscriptions,
            invoices: self.invoices || other.invoices,
            payments: self.payments || other.payments,
        }
    }
}

/// Objects of one customer.
#[derive(Debug, Default)]
pub(super) struct ReadObjects {
    pub subscriptions: Option<ReadSubscriptions>,
    pub invoices: Option<Vec<Invoice>>,
    pub payments: Option<ReadPayments>,
}

/// Subscriptions of one customer, ended ones included.
#[derive(Debug, Default)]
pub(super) struct ReadSubscriptions {
    pub objects: Vec<Subscription>,
    /// Ids of those that do not fit their type.
    unreadable: Vec<String>,
    /// Whether there are no more than these.
    is_complete: bool,
}

/// Age up to which a second subscription is ended and refunded by itself.
const AGE_TO_REFUND: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// Repetitions of a read that a later one has overtaken.
const ATTEMPTS: u32 = 3;

/// Pages of a list, the newest objects first.
const PAGES: usize = 5;

/// Reads the objects of an account's customer and stores them.
pub(super) async fn sync(
    ctx: &Ctx,
    account_id: AccountId,
    customer: &str,
    areas: Areas,
) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    for _ in 0..ATTEMPTS {
        let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
        let read = customers::begin_read(&mut *tx, account_id, customer).await?;
        tx.commit().await?;
        let read = read.ok_or(customers::Error::NotFound)?;
        let objects = read_objects(stripe, customer, areas).await?;
        if store_objects(ctx, account_id, read, &objects).await? {
            if objects.subscriptions.is_some() {
                plans::changed(ctx, account_id).await;
                organisations::check_seats(ctx, account_id).await?;
            }
            return Ok(());
        }
    }
    Err(Error::Overtaken)
}

/// A customer was deleted at Stripe, which ends its subscriptions: the next purchase creates another one. Returns false
/// if it was not.
pub(super) async fn forget_customer(
    ctx: &Ctx,
    account_id: AccountId,
    customer: &str,
) -> Result<bool, Error> {
    let request = RetrieveCustomer::new(CustomerId::from(customer));
    match customers::stripe(ctx)?.read(&request).await {
        Ok(RetrieveCustomerReturned::Customer(_)) => return Ok(false),
        Ok(RetrieveCustomerReturned::DeletedCustomer(_)) => {}
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    let now = ctx.now();
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    // Counts as a read, so that none that began before it is stored later.
    if let Some(read) = customers::begin_read(&mut *tx, account_id, customer).await? {
        customers::is_newest_read(&mut *tx, account_id, read, now).await?;
        plans::end_missing_subscriptions(&mut *tx, account_id, &[], now).await?;
        store::expire_open_checkout(&mut *tx, account_id, now).await?;
        customers::clear(&mut *tx, customer, now).await?;
    }
    tx.commit().await?;
    plans::changed(ctx, account_id).await;
    Ok(true)
}

pub(super) async fn read_objects(
    stripe: &Stripe,
    customer: &str,
    areas: Areas,
) -> Result<ReadObjects, CallError> {
    let mut objects = ReadObjects::default();
    if areas.subscriptions {
        objects.subscriptions = Some(list_subscriptions(stripe, customer).await?);
    }
    if areas.invoices {
        objects.invoices = Some(list_invoices(stripe, customer).await?);
    }
    if areas.payments {
        objects.payments = Some(payments::read(stripe, customer).await?);
    }
    Ok(objects)
}

async fn list_subscriptions(
    stripe: &Stripe,
    customer: &str,
) -> Result<ReadSubscriptions, CallError> {
    let mut request = ListSubscription::new()
        .customer(customer)
        .status(ListSubscriptionStatus::All)
        .limit(100);
    let mut read = ReadSubscriptions::default();
    for _ in 0..PAGES {
        let page = stripe.list::<_, Subscription>(&request).await?;
        read.unreadable.extend_from_slice(&page.unreadable);
        let next = keep("subscription", page, &mut read.objects);
        let Some(next) = next else {
            read.is_complete = true;
            break;
        };
        request = request.starting_after(next);
    }
    Ok(read)
}

async fn list_invoices(stripe: &Stripe, customer: &str) -> Result<Vec<Invoice>, CallError> {
    let mut request = ListInvoice::new()
        .customer(customer)
        .expand(["data.payments".to_owned()])
        .limit(100);
    let mut all = Vec::new();
    for _ in 0..PAGES {
        let page = stripe.list::<_, Invoice>(&request).await?;
        let next = keep("invoice", page, &mut all);
        match next {
            Some(next) => request = request.starting_after(next),
            None => break,
        }
    }
    Ok(all)
}

/// Keeps the objects of a page; returns where the next one begins.
fn keep<T>(what: &'static str, page: Listed<T>, all: &mut Vec<T>) -> Option<String> {
    for id in page.unreadable {
        tracing::error!(
            what,
            id,
            "an object at Stripe does not fit its type and is skipped"
        );
    }
    all.extend(page.objects);
    page.next
}

/// Stores what was read, unless a later read is stored.
async fn store_objects(
    ctx: &Ctx,
    account_id: AccountId,
    read: i64,
    objects: &ReadObjects,
) -> Result<bool, Error> {
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    if !customers::is_newest_read(&mut *tx, account_id, read, ctx.now()).await? {
        return Ok(false);
    }
    if let Some(subscriptions) = &objects.subscriptions {
        store_subscriptions(ctx, &mut tx, account_id, subscriptions).await?;
    }
    if let Some(invoices) = &objects.invoices {
        for invoice in invoices {
            let Some(provided) = provided_invoice(invoice) else {
                continue;
            };
            let id = InvoiceId::new(provided.created_at, &ctx.rng);
            store::upsert_invoice(&mut *tx, id, account_id, &provided, ctx.now()).await?;
            let payments = objects.payments.as_ref();
            let needs_authentication = payments.is_some_and(|payments| {
                let mut intents = provided.payment_intents.iter();
                intents.any(|intent| payments.requires_action(intent))
            });
            notices::notify_of_invoice(
                &mut tx,
                account_id,
                &provided,
                needs_authentication,
                ctx.now(),
            )
            .await?;
        }
    }
    if let Some(read) = &objects.payments {
        payments::store_read(&mut tx, account_id, read, ctx.now()).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn store_subscriptions(
    ctx: &Ctx,
    tx: &mut Tx<'_>,
    account_id: AccountId,
    read: &ReadSubscriptions,
) -> Result<(), Error> {
    let now = ctx.now();
    let before = plans::list_subscriptions(&mut **tx, account_id, false).await?;
    let mut provided = provided_subscriptions(&read.objects, &ctx.plans);
    if read.is_complete {
        let readable = provided.iter().map(|it| &it.stripe_subscription_id);
        let there: Vec<_> = readable.chain(&read.unreadable).cloned().collect();
        plans::end_missing_subscriptions(&mut **tx, account_id, &there, now).await?;
    }
    let current = subscriptions::mark_duplicates(&mut provided);
    let current_id = current.map(|at| provided[at].stripe_subscription_id.clone());
    plans::mark_duplicates(&mut **tx, account_id, current_id.as_deref(), now).await?;
    // The current one last: the index of current subscriptions allows one of an account.
    let order = (0..provided.len())
        .filter(|at| Some(*at) != current)
        .chain(current);
    for at in order {
        let (subscription, it) = (&read.objects[at], &provided[at]);
        let checkout = checkout_of(subscription);
        if let Some(checkout) = checkout {
            store::complete_checkout(&mut **tx, account_id, checkout, now).await?;
        }
        let Some(user_id) = find_buyer(tx, account_id, checkout).await? else {
            tracing::warn!(account_id = %account_id, "a subscription of an account without a user is skipped");
            continue;
        };
        let id = SubscriptionId::new(now, &ctx.rng);
        plans::upsert_subscription(&mut **tx, id, account_id, user_id, it, now).await?;
        if subscription.trial_start.is_some() {
            customers::mark_trial_used(&mut **tx, account_id, now).await?;
        }
        notices::notify_of_subscription(tx, account_id, it, now).await?;
        if it.is_duplicate {
            end_duplicate(tx, account_id, it, checkout.is_some(), now).await?;
        }
    }
    audit_change(tx, account_id, &before, current.map(|at| &provided[at])).await?;
    Ok(())
}

/// Who bought a subscription: by its checkout, else who pays for the account.
async fn find_buyer(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    checkout: Option<CheckoutId>,
) -> Result<Option<UserId>, sqlx::Error> {
    if let Some(id) = checkout
        && let Some(user_id) = store::find_buyer(&mut **tx, account_id, id).await?
    {
        return Ok(Some(user_id));
    }
    customers::find_payer(&mut **tx, account_id).await
}

pub(super) fn provided_subscriptions<'a>(
    read: impl IntoIterator<Item = &'a Subscription>,
    config: &PlansConfig,
) -> Vec<ProvidedSubscription> {
    let all = read.into_iter();
    all.map(|subscription| subscriptions::provided(subscription, config))
        .collect()
}

/// A second subscription of our checkout is ended and refunded. Others are only reported: somebody made them at Stripe, or
/// they have been used for long.
async fn end_duplicate(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    duplicate: &ProvidedSubscription,
    is_ours: bool,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), Error> {
    let id = &duplicate.stripe_subscription_id;
    let is_recent = now - duplicate.created_at < AGE_TO_REFUND;
    if !is_ours || !is_recent || duplicate.plan.is_none() {
        tracing::warn!(account_id = %account_id, subscription = %id, "an account has more than one subscription");
        return Ok(());
    }
    if notices::notify(tx, account_id, Fact::DuplicateEnded, id, None, now).await? {
        let job = EndDuplicate::of(account_id, id.clone());
        job_queue::enqueue(&mut **tx, &job, None).await?;
    }
    Ok(())
}

/// Records a change of the plan that is paid.
async fn audit_change(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    before: &[plans::StoredSubscription],
    current: Option<&ProvidedSubscription>,
) -> Result<(), sqlx::Error> {
    let state = |plan: Option<plans::Plan>, status: SubscriptionStatus| serde_json::json!({ "plan": plan, "status": status });
    let old = before.iter().find(|it| it.status.is_live());
    let old = old.map(|it| state(it.plan, it.status));
    let new = current.map(|it| state(it.plan, it.status));
    if old != new {
        let detail = serde_json::json!({ "before": old, "after": new });
        tx.audit(
            Event::SubscriptionChanged
                .in_account(account_id)
                .detail(detail),
        )
        .await?;
    }
    Ok(())
}
