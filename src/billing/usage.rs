//! Usage at Stripe: the count of each closed hour, sent to a meter whose last value of an hour counts. A count can
//! therefore be sent again at any time. Stripe keeps the identifier of an event for a day only.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use stripe_client::billing::BillingMeterEventSummary;
use stripe_client::billing::billing_meter_event::CreateBillingMeterEvent;
use stripe_client::billing::billing_meter_event_summary::{
    ListIdBillingMeterEventSummary, ListIdBillingMeterEventSummaryValueGroupingWindow as Window,
};
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::manage::one_time_key;
use super::store::usage::{self as store, BilledAccount, BilledHour};
use crate::config::Meter;
use crate::ctx::Ctx;
use crate::scope::{Exception, Scope};
use crate::state::AppState;
use crate::{metrics, usage};

/// Counts written later than this are found by the daily run.
const RECENT: TimeDelta = TimeDelta::days(2);

/// Stripe accepts events of the last 35 days.
const OLDEST: TimeDelta = TimeDelta::hours(35 * 24 - 2);

/// Days that are compared with Stripe. Of yesterday all is counted there.
const COMPARED: TimeDelta = TimeDelta::days(4);

const PAGE: i64 = 100;

/// Sends the hours that are closed since the last run, and those whose count has changed lately.
pub(super) async fn send_recent(state: &AppState) -> Result<(), Error> {
    follow_all(state, false).await
}

/// Compares with Stripe, and sends all hours whose count has changed or differs.
pub(super) async fn compare_and_send(state: &AppState) -> Result<(), Error> {
    follow_all(state, true).await
}

/// A refusal concerns one account. Any other failure ends the job, which is retried.
async fn follow_all(state: &AppState, compares: bool) -> Result<(), Error> {
    let Some((stripe, meter)) = state.stripe.as_ref().zip(state.billing.meter.as_ref()) else {
        return Ok(());
    };
    let ctx = Ctx::system(state);
    let mut after = None;
    loop {
        let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
        let page = store::list_accounts(&mut *tx, after, ctx.now() - RECENT, PAGE).await?;
        tx.commit().await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.account_id);
        for account in &page {
            match follow(&ctx, stripe, meter, account, compares).await {
                Err(error) if error.is_refusal() => {
                    let account_id = account.account_id;
                    tracing::error!(account_id = %account_id, %error, "Stripe refuses the usage of an account");
                }
                result => result?,
            }
        }
    }
}

async fn follow(
    ctx: &Ctx,
    stripe: &Stripe,
    meter: &Meter,
    account: &BilledAccount,
    compares: bool,
) -> Result<(), Error> {
    if !compares {
        return send(ctx, stripe, meter, account, RECENT).await;
    }
    compare(ctx, stripe, meter, account).await?;
    send(ctx, stripe, meter, account, OLDEST).await
}

/// Stores the counts of closed hours, then sends those that are not sent.
async fn send(
    ctx: &Ctx,
    stripe: &Stripe,
    meter: &Meter,
    account: &BilledAccount,
    age: TimeDelta,
) -> Result<(), Error> {
    let now = ctx.now();
    let id = account.account_id;
    // An hour that began before the subscription is free.
    let from = (now - age).max(account.subscribed_at);
    let mut tx = ctx.begin_scoped(Scope::Account(id)).await?;
    let hours = usage::list_closed_hours(&mut *tx, id, from, now).await?;
    store::record(&mut *tx, id, &hours).await?;
    let unsent = store::list_unsent(&mut *tx, id, now - OLDEST).await?;
    tx.commit().await?;
    for hour in unsent {
        send_hour(ctx, stripe, meter, account, &hour).await?;
        let mut tx = ctx.begin_scoped(Scope::Account(id)).await?;
        store::mark_sent(&mut *tx, id, &hour, ctx.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn send_hour(
    ctx: &Ctx,
    stripe: &Stripe,
    meter: &Meter,
    account: &BilledAccount,
    hour: &BilledHour,
) -> Result<(), CallError> {
    let start = hour.hour.timestamp();
    // Of one hour's events the last one counts: a later revision is a second later.
    let time = start + i64::from(hour.revision).min(3_599);
    let identifier = format!("{}-{start}-{}", account.account_id, hour.revision);
    let payload = HashMap::from([
        ("stripe_customer_id".to_owned(), account.customer.clone()),
        ("value".to_owned(), hour.count.to_string()),
    ]);
    let request = CreateBillingMeterEvent::new(&meter.event_name, payload)
        .identifier(&identifier)
        .timestamp(time);
    // The identifier makes it safe to repeat, also after an error that Stripe would repeat under a key.
    match stripe.write(&request, &one_time_key(ctx, "usage")).await {
        Ok(_) => Ok(()),
        // Sent before, with the same value: another value has another identifier.
        Err(error) if error.code() == Some("duplicate_meter_event") => Ok(()),
        Err(error) => Err(error),
    }
}

/// Compares the hours of the last days with Stripe's summaries. Those that differ are to be sent again.
async fn compare(
    ctx: &Ctx,
    stripe: &Stripe,
    meter: &Meter,
    account: &BilledAccount,
) -> Result<(), Error> {
    let day = ctx.now().duration_trunc(TimeDelta::days(1));
    let until = day.unwrap_or_else(|_| ctx.now()) - TimeDelta::days(1);
    let from = until - COMPARED;
    let id = account.account_id;
    let mut tx = ctx.begin_scoped(Scope::Account(id)).await?;
    let sent = store::list_sent(&mut *tx, id, from, until).await?;
    tx.commit().await?;
    if sent.is_empty() {
        return Ok(());
    }
    let request = ListIdBillingMeterEventSummary::new(
        &*meter.id,
        &account.customer,
        until.timestamp(),
        from.timestamp(),
    )
    .value_grouping_window(Window::Hour)
    .limit(100);
    let page = stripe.list::<_, BillingMeterEventSummary>(&request).await?;
    let there: BTreeMap<i64, f64> = page
        .objects
        .iter()
        .map(|it| (it.start_time, it.aggregated_value))
        .collect();
    let differ = |hour: &&BilledHour| {
        let found = there.get(&hour.hour.timestamp()).copied();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = hour.count as f64;
        (found.unwrap_or_default() - count).abs() > 0.5
    };
    let different: Vec<DateTime<Utc>> = sent.iter().filter(differ).map(|it| it.hour).collect();
    if different.is_empty() {
        return Ok(());
    }
    metrics::count_billing_drift(1);
    let stored: i64 = sent.iter().map(|hour| hour.count).sum();
    let counted: f64 = there.values().sum();
    tracing::warn!(account_id = %id, hours = different.len(), stored, counted, "usage differs from that at Stripe");
    let mut tx = ctx.begin_scoped(Scope::Account(id)).await?;
    store::mark_unsent(&mut *tx, id, &different).await?;
    tx.commit().await?;
    Ok(())
}
