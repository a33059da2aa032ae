//! Usage at a meter of Stripe: each closed hour once, whatever is late, repeated or lost.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use clock::Clock;
use groundwork::billing::{CompareUsage, SendUsage};
use groundwork_dev::Stripe;
use groundwork_dev::stripe::{
    Catalog, CatalogMeter, CatalogPrice, CatalogProduct, FaultAction, FaultBody, Interval, Outcome,
    StripeAccount, StripeFault,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Session, TestApp};

const METER: &str = "mtr_requests";
const EVENTS: &str = "/v1/billing/meter_events";
const HOUR: Duration = Duration::from_hours(1);

const SETTINGS: [(&str, &str); 4] = [
    ("PLAN_PRO_PRICE_ID", "price_pro"),
    ("PLAN_PRO_USAGE_PRICE_ID", "price_usage"),
    ("STRIPE_METER_ID", METER),
    ("STRIPE_METER_EVENT_NAME", "requests"),
];

/// A service whose clock and Stripe's go together.
struct Billed {
    app: TestApp,
    stripe: StripeAccount,
    account: Uuid,
    customer: String,
    _stripe: Stripe,
}

fn price(id: &str, amount: i64, interval: Interval) -> CatalogPrice {
    CatalogPrice {
        id: id.to_owned(),
        amount: Some(amount),
        amount_decimal: None,
        currency: "usd".to_owned(),
        interval,
        active: true,
    }
}

async fn start(settings: &[(&str, &str)]) -> (TestApp, StripeAccount, Stripe) {
    let stripe = Stripe::start().await;
    let account = stripe.account("sk_test_usage");
    let metered = Interval::UsageMetered {
        meter: METER.to_owned(),
    };
    account.seed(&Catalog {
        products: vec![CatalogProduct {
            id: "prod_pro".to_owned(),
            name: "Pro".to_owned(),
            prices: vec![
                price("price_pro", 2_900, Interval::Month),
                price("price_pro_year", 29_000, Interval::Year),
                price("price_usage", 1, metered),
            ],
        }],
        meters: vec![CatalogMeter {
            id: METER.to_owned(),
            event_name: "requests".to_owned(),
            formula: "last".to_owned(),
            event_time_window: Some("hour".to_owned()),
        }],
        ..Catalog::default()
    });
    let url = stripe.url();
    let mut all = vec![
        ("STRIPE_SECRET_KEY", "sk_test_usage"),
        ("STRIPE_API_URL", url.as_str()),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_test"),
    ];
    all.extend(settings);
    let now = DateTime::from_timestamp(account.now(), 0).expect("it is a time");
    let app = TestApp::with_clock(&all, Clock::fixed(now)).await;
    (app, account, stripe)
}

/// Buys the plan.
async fn buy(app: &TestApp, account: &StripeAccount, terms: Value) -> Session {
    let ada = app.sign_in("ada").await;
    let begun = ada.post("/api/v1/billing/checkout", terms).await;
    begun.assert_status(200);
    let page = begun.body["url"].as_str().expect("a page");
    let session = page.rsplit('/').next().expect("it names the session");
    account
        .pay_checkout(session, Outcome::Paid)
        .expect("it is paid");
    let back = format!("/billing-return?session_id={session}");
    app.get(&back).await.assert_status(200);
    ada
}

impl Billed {
    async fn new() -> Self {
        let (app, stripe, server) = start(&SETTINGS).await;
        let ada = buy(&app, &stripe, json!({ "plan": "pro" })).await;
        let account = Uuid::parse_str(&ada.user_id().await).expect("an id");
        let customer = stripe.objects("customer")[0]["id"].clone();
        Self {
            app,
            stripe,
            account,
            customer: customer.as_str().expect("an id").to_owned(),
            _stripe: server,
        }
    }

    async fn advance(&self, by: Duration) {
        self.app.clock.advance(by);
        let now = self.app.clock.now().timestamp();
        self.stripe.advance_to(now).await;
    }

    /// The start of the hour so many hours ago.
    fn hour(&self, ago: i64) -> DateTime<Utc> {
        let now = self.app.clock.now() - TimeDelta::hours(ago);
        now.duration_trunc(TimeDelta::hours(1)).expect("an hour")
    }

    /// Adds requests to an hour, two of which failed by our fault.
    async fn use_up(&self, hour: DateTime<Utc>, count: i64) {
        sqlx::query(
            "INSERT INTO usage_hourly AS u (user_id, account_id, endpoint, request_count, client_errors, server_errors,
                                            response_time_ms, response_time_max_ms, created_at)
             VALUES ($1, $1, 'get_me', $3 + 2, 0, 2, 1, 1, $2)
             ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET request_count = u.request_count + $3",
        )
        .bind(self.account)
        .bind(hour)
        .bind(count)
        .execute(&self.app.owner_db)
        .await
        .expect("it is counted");
    }

    async fn send(&self) {
        job_queue::enqueue(&self.app.state.db, &SendUsage::default(), None)
            .await
            .expect("it is enqueued");
        self.app.run_jobs().await;
    }

    async fn compare(&self) {
        job_queue::enqueue(&self.app.state.db, &CompareUsage::default(), None)
            .await
            .expect("it is enqueued");
        self.app.run_jobs().await;
    }

    /// What Stripe has counted since the purchase.
    fn counted(&self) -> f64 {
        let end = self.hour(-1).timestamp();
        let period = json!({
            "customer": self.customer, "start_time": self.hour(24 * 40).timestamp(), "end_time": end,
        });
        let path = format!("/v1/billing/meters/{METER}/event_summaries");
        let found = self
            .stripe
            .call("GET", &path, &period)
            .expect("it is summed");
        let sums = found["data"].as_array().expect("a list").iter();
        sums.map(|it| it["aggregated_value"].as_f64().expect("a number"))
            .sum()
    }

    /// Meter events that were sent, refused ones included.
    fn sent(&self) -> Vec<Value> {
        let requests = self.stripe.requests().into_iter();
        let sent = requests.filter(|it| it.method == "POST" && it.path == EVENTS);
        sent.map(|it| it.form).collect()
    }
}

#[tokio::test]
async fn each_closed_hour_is_sent_once_however_often_the_job_runs() {
    let billed = Billed::new().await;
    let before = billed.hour(0);
    billed.advance(4 * HOUR).await;
    billed.use_up(before, 1_000).await;
    billed.use_up(billed.hour(2), 40).await;
    billed.use_up(billed.hour(1), 2).await;
    billed.use_up(billed.hour(0), 500).await;
    billed.send().await;
    billed.send().await;
    // Neither the hour of the purchase nor the present one.
    assert!((billed.counted() - 42.0).abs() < 0.1);
    let sent = billed.sent();
    assert_eq!(sent.len(), 2);
    let hour = billed.hour(2).timestamp();
    let first = format!("{}-{hour}-0", billed.account);
    assert_eq!(sent[0]["identifier"], first);
    assert_eq!(sent[0]["timestamp"], hour.to_string());
    let lines = billed.stripe.objects("subscription");
    assert_eq!(lines[0]["items"]["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn rows_that_come_late_replace_the_count_of_their_hour() {
    let billed = Billed::new().await;
    billed.advance(3 * HOUR).await;
    let hour = billed.hour(1);
    billed.use_up(hour, 40).await;
    billed.send().await;
    billed.use_up(hour, 5).await;
    billed.send().await;
    assert!((billed.counted() - 45.0).abs() < 0.1);
    // Beyond the time that the hourly job looks at.
    billed.advance(72 * HOUR).await;
    billed.use_up(hour, 5).await;
    billed.send().await;
    assert!((billed.counted() - 45.0).abs() < 0.1);
    billed.compare().await;
    assert!((billed.counted() - 50.0).abs() < 0.1);
}

#[tokio::test]
async fn an_event_that_is_repeated_days_after_a_crash_counts_once() {
    let billed = Billed::new().await;
    billed.advance(3 * HOUR).await;
    billed.use_up(billed.hour(1), 40).await;
    billed.send().await;
    for days in [0_u32, 2] {
        billed.advance(days * 24 * HOUR).await;
        // The process ended before it stored that Stripe has accepted the event.
        sqlx::query("UPDATE billed_usage SET sent_at = NULL")
            .execute(&billed.app.owner_db)
            .await
            .expect("it is changed");
        billed.send().await;
        assert!((billed.counted() - 40.0).abs() < 0.1, "after {days} days");
    }
    assert_eq!(billed.sent().len(), 3);
    let unsent: i64 = sqlx::query_scalar("SELECT count(*) FROM billed_usage WHERE sent_at IS NULL")
        .fetch_one(&billed.app.owner_db)
        .await
        .expect("it is counted");
    assert_eq!(unsent, 0);
}

#[tokio::test]
async fn nothing_that_is_older_than_35_days_is_sent() {
    let billed = Billed::new().await;
    sqlx::query(
        "UPDATE subscriptions SET stripe_created_at = stripe_created_at - interval '60 days'",
    )
    .execute(&billed.app.owner_db)
    .await
    .expect("it is changed");
    billed.use_up(billed.hour(35 * 24 + 1), 100).await;
    billed.use_up(billed.hour(34 * 24), 3).await;
    billed.compare().await;
    assert!((billed.counted() - 3.0).abs() < 0.1);
    assert_eq!(billed.sent().len(), 1);
}

#[tokio::test]
async fn usage_is_not_billed_unless_a_meter_and_a_price_are_set() {
    let (app, stripe, _server) = start(&SETTINGS[..1]).await;
    buy(&app, &stripe, json!({ "plan": "pro" })).await;
    let items = stripe.objects("subscription")[0]["items"]["data"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1));
    app.clock.advance(3 * HOUR);
    for () in [(), ()] {
        job_queue::enqueue(&app.state.db, &SendUsage::default(), None)
            .await
            .expect("it is enqueued");
        job_queue::enqueue(&app.state.db, &CompareUsage::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
    }
    let calls = stripe.requests();
    assert!(
        calls
            .iter()
            .all(|call| !call.path.starts_with("/v1/billing/meter"))
    );
}

#[tokio::test]
async fn what_stripe_rejects_after_it_was_accepted_is_found_and_sent_again() {
    let billed = Billed::new().await;
    billed.advance(3 * HOUR).await;
    billed.use_up(billed.hour(1), 40).await;
    billed.send().await;
    billed.stripe.reject_meter_events();
    assert!(billed.counted() < 0.1);
    billed.advance(72 * HOUR).await;
    billed.compare().await;
    assert!((billed.counted() - 40.0).abs() < 0.1);
    let sent = billed.sent();
    assert_eq!(sent.len(), 2);
    let again = sent[1]["identifier"].as_str().expect("an identifier");
    assert!(again.ends_with("-1"), "{again}");
    billed.compare().await;
    assert_eq!(billed.sent().len(), 2);
}

#[tokio::test]
async fn an_hour_that_stripe_does_not_take_is_sent_by_the_next_run() {
    let billed = Billed::new().await;
    billed.advance(3 * HOUR).await;
    billed.use_up(billed.hour(1), 40).await;
    billed.stripe.fault(StripeFault {
        method: Some("POST".to_owned()),
        path: EVENTS.to_owned(),
        skip: 0,
        count: 1,
        action: FaultAction::Status {
            status: 400,
            body: FaultBody::Json,
            headers: Vec::new(),
        },
    });
    billed.send().await;
    assert!(billed.counted() < 0.1);
    billed.send().await;
    assert!((billed.counted() - 40.0).abs() < 0.1);
}

#[tokio::test]
async fn the_usage_of_a_period_is_on_its_invoice() {
    let billed = Billed::new().await;
    billed.advance(3 * HOUR).await;
    billed.use_up(billed.hour(1), 40).await;
    billed.send().await;
    billed.advance(Duration::from_hours(32 * 24)).await;
    let invoices = billed.stripe.objects("invoice");
    let totals: Vec<_> = invoices.iter().map(|it| it["total"].clone()).collect();
    assert_eq!(totals, [json!(2_900), json!(2_940)]);
}

#[tokio::test]
async fn a_yearly_plan_is_paid_by_the_year_and_its_usage_by_the_month() {
    let yearly = [
        ("PLAN_PRO_PRICE", "2900"),
        ("PLAN_PRO_YEAR_PRICE", "29000"),
        ("PLAN_PRO_YEAR_PRICE_ID", "price_pro_year"),
    ];
    let (app, stripe, _server) = start(&[&SETTINGS[..], &yearly].concat()).await;
    buy(&app, &stripe, json!({ "plan": "pro", "interval": "year" })).await;

    let bought = &stripe.objects("subscription")[0]["items"]["data"];
    let items: Vec<_> = bought.as_array().expect("items").iter().collect();
    let prices: Vec<_> = items.iter().map(|it| &it["price"]["id"]).collect();
    assert_eq!(prices, ["price_pro_year", "price_usage"]);
    let (days, has_usage): (f64, bool) = sqlx::query_as(
        "SELECT extract(epoch FROM current_period_end - current_period_start)::float8 / 86400, has_usage_item
         FROM subscriptions",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it is stored");
    assert!(days >= 365.0, "the plan is paid for {days} days");
    assert!(has_usage);
}
