//! Random acts on the fake Stripe, mixed with webhooks in any order, twice, late or never: in the end the rows are what
//! is at Stripe.
//!
//! `PROPERTY_ROUNDS` is the number of cases; by default few, for CI.

mod acts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use groundwork::billing;
use groundwork::ctx::Ctx;
use groundwork_dev::stripe::{FaultAction, Release};
use serde_json::{Value, json};

use self::acts::Act;
use super::{CHECKOUT, billing_app_with};
use crate::kit::stripe::{StripeApp, fault};
use crate::organisations::property::{Numbers, rounds};

const NAMES: [&str; 6] = ["ada", "bob", "eve", "kim", "lea", "max"];

/// Cases of one service, which starts without objects.
const ROUNDS_OF_ONE: usize = 25;

struct Arena {
    it: StripeApp,
    customers: Vec<String>,
    /// Events that are delivered in a later round.
    late: Vec<String>,
    acts: BTreeMap<&'static str, usize>,
}

impl Arena {
    async fn new(seed: u64) -> Self {
        let settings = [
            ("STRIPE_CALLS_PER_SECOND", "1000"),
            ("PLAN_PAST_DUE_GRACE", "3d"),
        ];
        let it = billing_app_with(&format!("property{seed}"), &settings).await;
        let mut customers = Vec::new();
        for name in NAMES {
            let session = it.app.sign_in(name).await;
            session
                .post(CHECKOUT, json!({ "plan": "pro" }))
                .await
                .assert_status(200);
            customers.push(it.newest("customer"));
        }
        it.settle().await;
        it.account.hold();
        Self {
            it,
            customers,
            late: Vec::new(),
            acts: BTreeMap::new(),
        }
    }

    /// Ids of the events since the last call, which are delivered only as this test wants.
    fn take_events(&self) -> Vec<String> {
        let held = self.it.account.held();
        self.it.account.release(&Release::Given(Vec::new()));
        self.it.account.hold();
        held
    }

    async fn deliver(&self, id: &str) {
        self.it.synchronize();
        let (signature, body) = self.it.account.signed(id).expect("it is an event");
        let answer = self.it.app.replica.deliver_signed(&signature, &body).await;
        answer.assert_status(200);
    }

    async fn run_jobs(&self) {
        self.it.app.hurry_jobs().await;
        self.it.app.run_jobs().await;
    }

    async fn reconcile(&self) {
        let ctx = Ctx::system(&self.it.app.state);
        let outcome = billing::reconcile(&ctx, None, true, |_| {}).await;
        assert_eq!(outcome.expect("it is compared").failed, 0);
    }

    /// Some acts with deliveries between them; returns what was done.
    async fn case(&mut self, numbers: &mut Numbers) -> Vec<Act> {
        let is_lossy = numbers.below(3) == 0;
        let mut done = Vec::new();
        let mut waiting = std::mem::take(&mut self.late);
        for _ in 0..=numbers.below(8) {
            let act = Act::random(numbers, self.customers.len());
            if act.perform(&self.it, &self.customers).await {
                *self.acts.entry(act.name()).or_default() += 1;
            }
            done.push(act);
            waiting.extend(self.take_events());
            for _ in 0..numbers.below(4) {
                if !waiting.is_empty() {
                    let id = waiting.swap_remove(numbers.below(waiting.len()));
                    self.deliver(&id).await;
                    if numbers.below(4) == 0 {
                        waiting.push(id);
                    }
                }
            }
            if numbers.below(4) == 0 {
                self.process(numbers).await;
            }
        }
        while !waiting.is_empty() {
            let id = waiting.swap_remove(numbers.below(waiting.len()));
            match numbers.below(6) {
                0 if is_lossy => {}
                1 if is_lossy => self.late.push(id),
                _ => self.deliver(&id).await,
            }
            waiting.extend(self.take_events());
        }
        self.process(numbers).await;
        if is_lossy {
            self.reconcile().await;
        }
        self.end().await;
        done
    }

    /// Runs the jobs, at times while a slow reconciliation reads the same.
    async fn process(&self, numbers: &mut Numbers) {
        if numbers.below(4) > 0 {
            return self.run_jobs().await;
        }
        let path = ["/v1/subscriptions", "/v1/invoices", "/v1/payment_intents"][numbers.below(3)];
        self.it
            .account
            .fault(fault("GET", path, 2, FaultAction::DelayAnswer(60)));
        tokio::join!(self.run_jobs(), self.reconcile());
        self.it.account.clear_faults();
    }

    /// Delivers what jobs have caused, until nothing is left.
    async fn end(&self) {
        for _ in 0..20 {
            for id in self.take_events() {
                self.deliver(&id).await;
            }
            self.run_jobs().await;
            let is_idle = self.it.count("graphile_worker._private_jobs").await == 0;
            if is_idle && self.it.account.held().is_empty() {
                return;
            }
        }
        let left: Vec<String> = self
            .it
            .read(
                "SELECT concat(payload::text, ': ', last_error) FROM graphile_worker._private_jobs",
            )
            .await;
        panic!("jobs go on for ever: {left:?}");
    }

    fn objects(&self, kind: &str) -> Vec<Value> {
        let is_ours = |it: &Value| self.customers.iter().any(|id| it["customer"] == **id);
        let all = self.it.account.objects(kind).into_iter();
        all.filter(is_ours).collect()
    }

    async fn rows(&self, sql: &'static str) -> BTreeSet<String> {
        self.it.read(sql).await.into_iter().collect()
    }

    async fn check(&self, what: &str) {
        let seconds = |value: &Value| {
            value
                .as_i64()
                .map_or("null".to_owned(), |it| it.to_string())
        };
        let subscriptions = self.objects("subscription");
        let there: BTreeSet<_> = subscriptions
            .iter()
            .map(|it| {
                let item = &it["items"]["data"][0];
                format!(
                    "{} {} {} {} {} {} {} {} {}",
                    text(&it["id"]),
                    text(&it["customer"]),
                    text(&it["status"]),
                    text(&item["price"]["id"]),
                    item["quantity"],
                    seconds(&item["current_period_end"]),
                    it["cancel_at_period_end"],
                    seconds(&it["cancel_at"]),
                    seconds(&it["ended_at"]),
                )
            })
            .collect();
        let here = self
            .rows(
                "SELECT concat_ws(' ', s.stripe_subscription_id, c.stripe_customer_id, s.status, s.stripe_price_id,
                     s.quantity, extract(epoch FROM s.current_period_end)::bigint, s.cancel_at_period_end::text,
                     coalesce(extract(epoch FROM s.cancel_at)::bigint::text, 'null'),
                     coalesce(extract(epoch FROM s.ended_at)::bigint::text, 'null'))
                 FROM subscriptions AS s JOIN billing_customers AS c USING (account_id)",
            )
            .await;
        assert_eq!(here, there, "subscriptions: {what}");

        let invoices = self.objects("invoice").into_iter();
        let there: BTreeSet<_> = invoices
            .filter(|it| it["status"] != "draft")
            .map(|it| {
                format!(
                    "{} {} {} {} {} {} {}",
                    text(&it["id"]),
                    text(&it["customer"]),
                    text(&it["status"]),
                    it["total"],
                    it["amount_paid"],
                    it["amount_remaining"],
                    it["attempt_count"],
                )
            })
            .collect();
        let here = self
            .rows(
                "SELECT concat_ws(' ', i.stripe_invoice_id, c.stripe_customer_id, i.status, i.total, i.amount_paid,
                     i.amount_remaining, i.attempt_count)
                 FROM invoices AS i JOIN billing_customers AS c USING (account_id)",
            )
            .await;
        assert_eq!(here, there, "invoices: {what}");

        let there: BTreeSet<_> = self
            .objects("payment_intent")
            .iter()
            .map(|it| self.payment(it))
            .collect();
        let here = self
            .rows(
                "SELECT concat_ws(' ', p.stripe_payment_intent_id, c.stripe_customer_id, p.amount, p.amount_refunded,
                     p.detailed_status)
                 FROM payments AS p JOIN billing_customers AS c USING (account_id)",
            )
            .await;
        assert_eq!(here, there, "payments: {what}");
    }

    /// What a payment should be by its intent, charge and disputes.
    fn payment(&self, intent: &Value) -> String {
        let charge = self
            .it
            .account
            .object(text(&intent["latest_charge"]))
            .unwrap_or_default();
        let refunded = charge["amount_refunded"].as_i64().unwrap_or(0);
        let disputes = self.it.account.objects("dispute").into_iter();
        let of_it: Vec<_> = disputes
            .filter(|it| it["charge"] == charge["id"])
            .map(|it| text(&it["status"]).to_owned())
            .collect();
        let is = |status: &str| of_it.iter().any(|it| it == status);
        let status = match text(&intent["status"]) {
            "requires_payment_method" if intent["last_payment_error"].is_object() => "failed",
            "succeeded" if is("needs_response") || is("under_review") => "disputed",
            "succeeded" if is("lost") => "dispute_lost",
            "succeeded" if charge["refunded"] == true => "refunded",
            "succeeded" if refunded > 0 => "partially_refunded",
            "succeeded" if is("won") => "dispute_won",
            status => status,
        };
        let (id, customer) = (text(&intent["id"]), text(&intent["customer"]));
        format!("{id} {customer} {} {refunded} {status}", intent["amount"])
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test]
async fn rows_end_as_what_is_at_stripe_whatever_comes_in_whatever_order() {
    let cases = rounds();
    let mut acts = BTreeMap::<&str, usize>::new();
    for seed in 0..cases.div_ceil(ROUNDS_OF_ONE) {
        let seed = u64::try_from(seed).expect("it is small");
        let mut numbers = Numbers(seed);
        let mut arena = Arena::new(seed).await;
        for case in 0..ROUNDS_OF_ONE.min(cases) {
            let done = arena.case(&mut numbers).await;
            arena
                .check(&format!("seed {seed}, case {case}: {done:?}"))
                .await;
        }
        for (name, count) in std::mem::take(&mut arena.acts) {
            *acts.entry(name).or_default() += count;
        }
        arena.it.advance(Duration::ZERO).await;
    }
    if cases >= 500 {
        assert!(acts.len() >= 15, "{acts:?}");
    }
}
