//! Billing with a fake Stripe: webhooks, checkout, subscriptions, and rows that follow what is true at Stripe.

mod checkout;
mod convergence;
mod operations;
mod organisations;
mod property;
mod races;
mod reconciliation;
mod subscriptions;
mod webhook;

use std::time::Duration;

use aws_lc_rs::hmac;
use groundwork_dev::stripe::{Catalog, CatalogPrice, CatalogProduct, Interval, Outcome};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Replica, Session, hex};
use crate::kit::stripe::{StripeApp, stripe_app_with};

pub const WEBHOOK: &str = "/api/v1/webhooks/stripe";
pub const CHECKOUT: &str = "/api/v1/billing/checkout";
pub const SUBSCRIPTION: &str = "/api/v1/billing/subscription";
const API_VERSION: &str = "2026-09-30.endive";

/// Settings of prices, as the catalog has them.
const PRICES: [(&str, &str); 6] = [
    ("PLAN_PRO_PRICE_ID", "price_pro"),
    ("PLAN_PRO_YEAR_PRICE", "29000"),
    ("PLAN_PRO_YEAR_PRICE_ID", "price_pro_year"),
    ("PLAN_PRO_FORMER_PRICE_IDS", "price_pro_former"),
    ("PLAN_ENTERPRISE_PRICE_ID", "price_enterprise"),
    ("PLAN_PRO_RATE", "100000"),
];

pub fn catalog() -> Catalog {
    let price = |id: &str, amount, interval| CatalogPrice {
        id: id.to_owned(),
        amount: Some(amount),
        amount_decimal: None,
        currency: "usd".to_owned(),
        interval,
        active: true,
    };
    let product = |id: &str, name: &str, prices| CatalogProduct {
        id: id.to_owned(),
        name: name.to_owned(),
        prices,
    };
    Catalog {
        products: vec![
            product(
                "prod_pro",
                "Pro",
                vec![
                    price("price_pro", 2_900, Interval::Month),
                    price("price_pro_year", 29_000, Interval::Year),
                    price("price_pro_former", 1_900, Interval::Month),
                ],
            ),
            product(
                "prod_enterprise",
                "Enterprise",
                vec![price("price_enterprise", 29_900, Interval::Month)],
            ),
            product(
                "prod_other",
                "Other",
                vec![price("price_other", 500, Interval::Month)],
            ),
        ],
        portal: true,
        ..Catalog::default()
    }
}

/// The service with prices for sale, and an account at a fake Stripe that sends it webhooks. Both have one time.
pub async fn billing_app(name: &str) -> StripeApp {
    billing_app_with(name, &[]).await
}

pub async fn billing_app_with(name: &str, overrides: &[(&str, &str)]) -> StripeApp {
    let settings: Vec<_> = PRICES.iter().chain(overrides).copied().collect();
    let it = stripe_app_with(name, &settings).await;
    it.account.seed(&catalog());
    it.synchronize();
    let url = it.app.replica.root.join(WEBHOOK).expect("it is a path");
    it.account
        .add_endpoint(url.as_str(), "whsec_test", Some(API_VERSION), &["*"]);
    it
}

/// `Stripe-Signature` of a body.
pub fn sign(secret: &str, time: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[format!("{time}.").as_bytes(), body].concat());
    format!("t={time},v1={}", hex(tag.as_ref()))
}

impl Replica {
    /// Delivers a body with a header that signs it.
    pub async fn deliver_signed(&self, signature: &str, body: &[u8]) -> Answer {
        let request = self.request(Method::POST, WEBHOOK);
        let request = request
            .header("stripe-signature", signature)
            .header("content-type", "application/json")
            .body(body.to_vec());
        self.send(&Method::POST, WEBHOOK, request).await
    }
}

impl StripeApp {
    /// Sets both clocks to the later one.
    fn synchronize(&self) {
        let ours = self.app.clock.now().timestamp();
        let behind = self.account.now() - ours;
        self.app
            .clock
            .advance(Duration::from_secs(behind.try_into().unwrap_or(0)));
        self.sign_by_our_clock();
    }

    fn sign_by_our_clock(&self) {
        let offset = self.app.clock.now().timestamp() - clock::Clock::system().now().timestamp();
        self.account.signature_offset(offset);
    }

    /// Moves both clocks; what becomes due at Stripe happens.
    pub async fn advance(&self, by: Duration) {
        self.synchronize();
        // Ours first: what becomes due is delivered at once.
        let to = self.account.now() + i64::try_from(by.as_secs()).expect("it is short");
        self.app.clock.advance(by);
        self.sign_by_our_clock();
        self.account.advance_to(to).await;
        self.synchronize();
    }

    pub async fn advance_days(&self, days: u64) {
        self.advance(Duration::from_hours(24 * days)).await;
    }

    /// Delivers the webhooks that are not held, and runs all jobs until none is left.
    pub async fn settle(&self) {
        for _ in 0..20 {
            self.account.delivered().await;
            self.app.hurry_jobs().await;
            self.app.run_jobs().await;
            self.account.delivered().await;
            if self.count("graphile_worker._private_jobs").await == 0 {
                return;
            }
        }
        let left: Vec<String> = self
            .read(
                "SELECT concat(payload::text, ': ', last_error) FROM graphile_worker._private_jobs",
            )
            .await;
        panic!("jobs are left: {left:?}");
    }

    /// The first column of all rows.
    pub async fn read<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql)
            .fetch_all(&self.app.owner_db)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.app.owner_db)
            .await
            .expect("they are counted")
    }

    /// Statuses of the stored subscriptions, the oldest first.
    pub async fn statuses(&self) -> Vec<String> {
        self.read(
            "SELECT status FROM subscriptions ORDER BY stripe_created_at, stripe_subscription_id",
        )
        .await
    }

    /// Facts that emails were sent about, without the objects' ids.
    pub async fn notices(&self) -> Vec<String> {
        self.read("SELECT split_part(fact, ':', 1) FROM billing_notices ORDER BY created_at, fact")
            .await
    }

    /// Id of the newest object of a kind at Stripe.
    pub fn newest(&self, kind: &str) -> String {
        let object = self.account.objects(kind).pop();
        let object = object.unwrap_or_else(|| panic!("there is a {kind}"));
        object["id"].as_str().expect("it has an id").to_owned()
    }

    /// Starts a checkout of the pro plan by the month; returns its session.
    pub async fn start(&self, buyer: &Session) -> String {
        let answer = buyer.post(CHECKOUT, json!({ "plan": "pro" })).await;
        answer.assert_status(200);
        self.newest("checkout.session")
    }

    /// Buys the pro plan by the month, and processes its webhooks; returns the subscription's id.
    pub async fn buy(&self, buyer: &Session) -> String {
        let session = self.start(buyer).await;
        self.account
            .pay_checkout(&session, Outcome::Paid)
            .expect("it is paid");
        self.settle().await;
        self.newest("subscription")
    }

    /// Delivers an event as Stripe does, signed now.
    pub async fn deliver(&self, event: &Value) -> Answer {
        let body = serde_json::to_vec(event).expect("it is JSON");
        let signature = sign("whsec_test", self.app.clock.now().timestamp(), &body);
        self.app.replica.deliver_signed(&signature, &body).await
    }
}

impl Session {
    /// Plan in effect, as billing shows it.
    pub async fn plan(&self) -> String {
        let shown = self.get(SUBSCRIPTION).await;
        shown.assert_status(200);
        shown.body["plan"]
            .as_str()
            .expect("it is a plan")
            .to_owned()
    }
}
