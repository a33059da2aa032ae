//! What the clock brings: trials that end, renewals, retries, expiry.

use serde_json::{Value, json};

use super::{
    checkout, cycles, invoices, periods,
    state::{State, int, text},
    subscriptions::{self, items, period_end},
};

const DAY: i64 = 86_400;
/// Days from the first failed attempt to each retry.
const RETRIES: [i64; 3] = [3, 5, 7];
const INCOMPLETE_FOR: i64 = 23 * 3600;

/// The time of the next attempt after one that failed now.
pub(super) fn next_attempt(state: &mut State, invoice: &str) -> Option<i64> {
    let now = state.now();
    let attempts = int(&state.read(invoice), "attempt_count");
    if attempts == 0 || !state.hidden(invoice)["first_failure"].is_i64() {
        state.hide(invoice, "first_failure", json!(now));
    }
    let first = state.hidden(invoice)["first_failure"]
        .as_i64()
        .unwrap_or(now);
    let retry = usize::try_from(attempts)
        .ok()
        .and_then(|retry| RETRIES.get(retry))?;
    Some((first + retry * DAY).max(now + 1))
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
enum Due {
    TrialWillEnd(String),
    TrialEnd(String),
    Renewal(String),
    Cancellation(String),
    IncompleteExpiry(String),
    PauseEnd(String),
    Finalisation(String),
    Retry(String),
    SessionExpiry(String),
}

/// Lets everything happen that is due by a time, in order.
pub(super) fn run_due(state: &mut State, until: i64) {
    while let Some((at, due)) = next_due(state, until) {
        state.pin(Some(at));
        happen(state, due);
        state.pin(None);
    }
}

fn next_due(state: &State, until: i64) -> Option<(i64, Due)> {
    let mut next: Option<(i64, Due)> = None;
    let mut offer = |at: i64, due: fn(String) -> Due, id: &str| {
        if at <= until && next.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            next = Some((at, due(id.to_owned())));
        }
    };
    for subscription in state.all("subscription") {
        let id = text(subscription, "id");
        let status = text(subscription, "status");
        if status == "incomplete" {
            offer(
                int(subscription, "created") + INCOMPLETE_FOR,
                Due::IncompleteExpiry,
                id,
            );
        }
        if subscriptions::is_over(subscription) || status == "incomplete" {
            continue;
        }
        if let Some(at) = subscription["cancel_at"].as_i64() {
            offer(at, Due::Cancellation, id);
        }
        if let Some(at) = subscription["pause_collection"]["resumes_at"].as_i64() {
            offer(at, Due::PauseEnd, id);
        }
        if status == "trialing" {
            // One that a test has edited may have none.
            let Some(end) = subscription["trial_end"].as_i64() else {
                continue;
            };
            if state.hidden(id)["trial_end_announced"] != end {
                offer(end - 3 * DAY, Due::TrialWillEnd, id);
            }
            offer(end, Due::TrialEnd, id);
        } else if status != "paused" && !items(subscription).is_empty() {
            offer(period_end(subscription), Due::Renewal, id);
        }
    }
    for invoice in state.all("invoice") {
        let id = text(invoice, "id");
        match text(invoice, "status") {
            "draft" => {
                if let Some(at) = invoice["automatically_finalizes_at"].as_i64() {
                    offer(at, Due::Finalisation, id);
                }
            }
            "open" => {
                if let Some(at) = invoice["next_payment_attempt"].as_i64() {
                    offer(at, Due::Retry, id);
                }
            }
            _ => {}
        }
    }
    for session in state
        .all("checkout.session")
        .filter(|session| session["status"] == "open")
    {
        offer(
            int(session, "expires_at"),
            Due::SessionExpiry,
            text(session, "id"),
        );
    }
    next
}

fn happen(state: &mut State, due: Due) {
    match due {
        Due::TrialWillEnd(id) => {
            let end = state.read(&id)["trial_end"].clone();
            state.hide(&id, "trial_end_announced", end);
            state.emit("customer.subscription.trial_will_end", &id);
        }
        Due::TrialEnd(id) => end_trial(state, &id),
        Due::Renewal(id) => renew(state, &id),
        Due::Cancellation(id) => {
            subscriptions::end(state, &id, "cancellation_requested");
            cycles::last_usage_invoice(state, &id);
        }
        Due::IncompleteExpiry(id) => subscriptions::end(state, &id, "expired"),
        Due::PauseEnd(id) => state.update(&id, "customer.subscription.updated", |value| {
            value["pause_collection"] = Value::Null;
        }),
        Due::Finalisation(id) => finalise(state, &id),
        Due::Retry(id) => {
            let _ = invoices::collect(state, &id, None);
        }
        Due::SessionExpiry(id) => checkout::expire(state, &id),
    }
}

/// Ends a trial: the first paid period begins, or the subscription is paused or canceled.
pub(super) fn end_trial(state: &mut State, id: &str) {
    let subscription = state.read(id);
    let customer = state.read(text(&subscription, "customer"));
    let has_method = subscription["default_payment_method"].is_string()
        || customer["invoice_settings"]["default_payment_method"].is_string();
    let missing = text(
        &subscription["trial_settings"]["end_behavior"],
        "missing_payment_method",
    );
    if !has_method && missing == "cancel" {
        subscriptions::end(state, id, "payment_failed");
        return;
    }
    if !has_method && missing == "pause" {
        state.edit(id, |value| value["status"] = json!("paused"));
        state.emit_change(
            "customer.subscription.paused",
            id,
            serde_json::Map::from_iter([("status".to_owned(), json!("trialing"))]),
        );
        return;
    }
    let now = state.now();
    let ended_early = int(&subscription, "trial_end") > now;
    advance_periods(state, id, Some(now), |value| {
        value["status"] = json!("active");
        value["billing_cycle_anchor"] = json!(now);
        if ended_early {
            value["trial_end"] = json!(now);
        }
    });
    let invoice = cycles::cycle_invoice(state, id, "subscription_cycle", false);
    if ended_early {
        invoices::finalize(state, &invoice);
        collect_unless_paused(state, &invoice);
    }
}

/// Begins the next period and drafts its invoice, which finalises an hour later.
fn renew(state: &mut State, id: &str) {
    let unpaid = state.read(id)["status"] == "unpaid";
    advance_periods(state, id, None, |_| {});
    let invoice = cycles::cycle_invoice(state, id, "subscription_cycle", false);
    if unpaid {
        state.edit(&invoice, |invoice| {
            invoice["auto_advance"] = json!(false);
            invoice["automatically_finalizes_at"] = Value::Null;
            invoice["next_payment_attempt"] = Value::Null;
        });
    }
}

/// Moves the items whose period is over to the next one; from a time instead of the old end if given.
fn advance_periods(
    state: &mut State,
    id: &str,
    from: Option<i64>,
    change: impl FnOnce(&mut Value),
) {
    let now = state.now();
    let before = state.read(id);
    let anchor = from.unwrap_or_else(|| int(&before, "billing_cycle_anchor"));
    if let Some(item) = items(&before).first() {
        let start = if before["status"] == "trialing" {
            now
        } else {
            int(item, "current_period_start")
        };
        state.hide(id, "metered_from", json!(start));
    }
    state.update(id, "customer.subscription.updated", |subscription| {
        for item in subscription["items"]["data"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            let old_end = int(item, "current_period_end");
            if from.is_none() && old_end > now {
                continue;
            }
            let start = from.unwrap_or(old_end);
            let recurring = &item["price"]["recurring"];
            let end = periods::add(
                start,
                anchor,
                text(recurring, "interval"),
                int(recurring, "interval_count"),
            );
            item["current_period_start"] = json!(start);
            item["current_period_end"] = json!(end);
        }
        change(subscription);
    });
}

fn finalise(state: &mut State, id: &str) {
    invoices::finalize(state, id);
    collect_unless_paused(state, id);
}

fn collect_unless_paused(state: &mut State, id: &str) {
    if state.read(id)["status"] != "open" {
        return;
    }
    let subscription =
        subscriptions::subscription_of(state, id).map_or(Value::Null, |id| state.read(&id));
    match subscription["pause_collection"]["behavior"].as_str() {
        Some("void") => invoices::void(state, id),
        Some("mark_uncollectible") => invoices::mark_uncollectible(state, id),
        Some(_) => {}
        None => {
            let _ = invoices::collect(state, id, None);
        }
    }
}

/// Resumes a paused subscription: a new period begins now.
pub(super) fn resume(state: &mut State, id: &str) {
    let now = state.now();
    let before = state.read(id);
    advance_periods(state, id, Some(now), |value| {
        value["status"] = json!("active");
        value["billing_cycle_anchor"] = json!(now);
    });
    state.emit_change(
        "customer.subscription.resumed",
        id,
        serde_json::Map::from_iter([("status".to_owned(), before["status"].clone())]),
    );
    let invoice = cycles::cycle_invoice(state, id, "subscription_cycle", false);
    finalise(state, &invoice);
}
