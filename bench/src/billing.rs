//! Billing: webhooks, payments, and the reads of Stripe that events cost, with the fake Stripe in this process.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use clock::Clock;
use groundwork_dev::error::Doing as _;
use groundwork_dev::{Error, Postgres, Result};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::load::{self, Connection, Reply, Round, Same, Script, request};
use crate::ours::Ours;
use crate::report::{Figure, Finding, Promise, tell};
use crate::scenario::{Scenario, by_turns, median, millis, rates, vec_of};
use crate::world::{CONNECTIONS, World};

pub(crate) const STRIPE_KEY: &str = "sk_test_bench";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_bench";

/// Customers that events are about.
const CUSTOMERS: usize = 100;

/// Events of one customer in a row, as of a purchase.
const BURST: usize = 10;

/// Events whose reads are counted.
const EVENTS: usize = 1_000;

/// Connections that create payments.
const PAYING: usize = 4;

/// Webhooks a second beside other requests.
const BESIDE: f64 = 50.0;

/// Sends signed events, each under an id of its own.
#[derive(Clone)]
struct Webhooks {
    path: &'static str,
    customers: Arc<Vec<String>>,
    sent: Arc<AtomicUsize>,
    /// Consecutive events of one customer.
    burst: usize,
    request: Vec<u8>,
}

impl Script for Webhooks {
    fn next(&mut self, _: Option<&Reply>) -> &[u8] {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let customer = &self.customers[number / self.burst % self.customers.len()];
        self.request = event(self.path, number, customer);
        &self.request
    }
}

/// A request as Stripe sends it. `customer.subscription.updated` and `invoice.paid` in turns.
fn event(path: &str, number: usize, customer: &str) -> Vec<u8> {
    let kind = ["customer.subscription.updated", "invoice.paid"][number % 2];
    let padding = "x".repeat(2_000);
    let body = json!({
        "id": format!("evt_{}_{number}", path.len()), "object": "event", "type": kind,
        "api_version": "2026-09-30.endive", "created": 1_790_000_000, "livemode": false,
        "data": { "object": { "id": "in_1", "object": "invoice", "customer": customer, "description": padding } },
    })
    .to_string();
    let now = Clock::system().now().timestamp();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let signature = hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let mut hex = String::new();
    for byte in signature.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nstripe-signature: t={now},v1={hex}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Creates payments, each under a key of its own.
struct Paying {
    path: &'static str,
    token: Option<String>,
    sent: Arc<AtomicUsize>,
    request: Vec<u8>,
}

impl Script for Paying {
    fn next(&mut self, _: Option<&Reply>) -> &[u8] {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "amount": 2_900, "currency": "USD", "description": "Bench" });
        let request = request("POST", self.path, self.token.as_deref(), Some(&body));
        let text = String::from_utf8_lossy(&request);
        let key = format!("\r\nidempotency-key: bench-{number}\r\ncontent-type");
        self.request = text.replacen("\r\ncontent-type", &key, 1).into_bytes();
        &self.request
    }
}

impl World {
    /// Measures billing on processes of its own.
    pub(crate) async fn billing(
        &self,
        only: &[Scenario],
        tokens: &[Value],
        length: Duration,
    ) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if ![Scenario::Webhook, Scenario::Payments, Scenario::Reads]
            .iter()
            .any(|it| only.contains(it))
        {
            return Ok(findings);
        }
        let customers = Arc::new(self.make_customers().await?);
        let hooks = |path, burst| Webhooks {
            path,
            customers: customers.clone(),
            sent: self.sent.clone(),
            burst,
            request: Vec::new(),
        };
        if only.contains(&Scenario::Webhook) {
            let (service, _) = self.setup.start_with(&["serve", "--no-worker"]).await?;
            findings.extend(self.accepted(&service, hooks, length).await?);
            service.stop().await;
            self.forget_events().await?;
        }
        let (service, _) = self.setup.start().await?;
        if only.contains(&Scenario::Reads) {
            findings.push(
                self.reads(&service, hooks("/api/v1/webhooks/stripe", 1))
                    .await?,
            );
        }
        if only.contains(&Scenario::Payments) {
            findings.push(self.payments(&service, tokens, length).await?);
        }
        if only.contains(&Scenario::Webhook) {
            let hooks = hooks("/api/v1/webhooks/stripe", BURST);
            findings.push(beside_webhooks(&service, tokens, &hooks, length).await?);
        }
        service.stop().await;
        Ok(findings)
    }

    /// Customers at the fake, each of an account.
    async fn make_customers(&self) -> Result<Vec<String>> {
        let account = self.stripe.account(STRIPE_KEY);
        let mut customers = Vec::new();
        for number in 0..CUSTOMERS {
            let email = format!("crowd{}@example.com", number + 1);
            let made = account.call("POST", "/v1/customers", &json!({ "email": email }));
            let made = made.map_err(|error| Error::Other(error.to_string()))?;
            customers.push(made["id"].as_str().unwrap_or_default().to_owned());
        }
        let mut owner = owner(&self.postgres).await?;
        sqlx::query(
            "INSERT INTO billing_customers (account_id, stripe_customer_id, creation_began_at, email, created_at, updated_at)
             SELECT u.id, c.id, now(), u.email, now(), now()
             FROM unnest($1::text[]) WITH ORDINALITY AS c (id, n) JOIN users AS u ON u.email = 'crowd' || c.n || '@example.com'
             ON CONFLICT (account_id) DO UPDATE SET stripe_customer_id = excluded.stripe_customer_id",
        )
        .bind(&customers)
        .execute(&mut owner)
        .await?;
        owner.close().await?;
        Ok(customers)
    }

    async fn forget_events(&self) -> Result<()> {
        self.execute(
            "TRUNCATE stripe_events, bare_events; DELETE FROM graphile_worker._private_jobs",
        )
        .await
    }

    async fn execute(&self, statements: &str) -> Result<()> {
        let mut owner = owner(&self.postgres).await?;
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut owner)
            .await?;
        Ok(owner.close().await?)
    }

    /// Stored events, without their processing, which waits for a second.
    async fn accepted(
        &self,
        service: &Ours,
        hooks: impl Fn(&'static str, usize) -> Webhooks,
        length: Duration,
    ) -> Result<Vec<Finding>> {
        let scripts = |path| vec_of(|_| hooks(path, 1));
        let (ours, bare) = by_turns(
            "POST /webhooks/stripe",
            length,
            async |turn| load::run(service.addr, scripts("/api/v1/webhooks/stripe"), turn).await,
            async |turn| load::run(self.bare_addr, scripts("/webhook"), turn).await,
        )
        .await?;
        let p99 = |rounds: &[Round]| Figure::Millis(median(rounds.iter().map(millis).collect()));
        Ok(vec![
            rates(
                "POST /webhooks/stripe / HMAC and one INSERT",
                &ours,
                &bare,
                0.4,
            ),
            Finding {
                what: "POST /webhooks/stripe, p99 / the same",
                ours: p99(&ours),
                bare: Some(p99(&bare)),
                promise: Promise::AtMost(3.0),
            },
        ])
    }

    /// Reads of Stripe that a flood of events costs, once all are processed.
    async fn reads(&self, service: &Ours, mut hooks: Webhooks) -> Result<Finding> {
        tell("1,000 events of 100 customers");
        let account = self.stripe.account(STRIPE_KEY);
        account.clear_requests();
        let mut connection = Connection::open(service.addr).await;
        for _ in 0..EVENTS {
            let connection = connection.as_mut();
            let connection = connection.map_err(|error| Error::Other(error.to_string()))?;
            let reply = connection.send(hooks.next(None)).await;
            let reply = reply.doing(|| "send an event".into())?;
            if reply.status != 200 {
                return Err(Error::Other(format!("an event got {}", reply.status)));
            }
        }
        let mut owner = owner(&self.postgres).await?;
        let began = Instant::now();
        loop {
            let waiting: i64 =
                sqlx::query_scalar("SELECT count(*) FROM stripe_events WHERE processed_at IS NULL")
                    .fetch_one(&mut owner)
                    .await?;
            if waiting == 0 {
                break;
            }
            if began.elapsed() > Duration::from_mins(1) {
                return Err(Error::Other(format!("{waiting} events wait")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        owner.close().await?;
        let requests = account.requests();
        let reads = requests
            .iter()
            .filter(|request| request.method == "GET")
            .count();
        Ok(Finding {
            what: "reads of Stripe for 1,000 events of 100 customers",
            #[expect(clippy::cast_precision_loss, reason = "there are few")]
            ours: Figure::Count(reads as f64),
            bare: None,
            promise: Promise::Below(300.0),
        })
    }

    async fn payments(
        &self,
        service: &Ours,
        tokens: &[Value],
        length: Duration,
    ) -> Result<Finding> {
        let scripts = |path, has_token: bool| {
            let script = |client: usize| Paying {
                path,
                token: tokens[client]["access_token"]
                    .as_str()
                    .filter(|_| has_token)
                    .map(str::to_owned),
                sent: self.sent.clone(),
                request: Vec::new(),
            };
            (0..PAYING).map(script).collect::<Vec<_>>()
        };
        // The first payment of an account creates its customer.
        let first = load::run(
            service.addr,
            scripts("/api/v1/payments", true),
            Duration::from_millis(500),
        );
        first.await.doing(|| "create customers".into())?;
        let (ours, bare) = by_turns(
            "POST /payments",
            length,
            async |turn| load::run(service.addr, scripts("/api/v1/payments", true), turn).await,
            async |turn| load::run(self.bare_addr, scripts("/payment", false), turn).await,
        )
        .await?;
        let mean = |rounds: &[Round]| {
            let times = rounds.iter().map(|round| round.mean().as_secs_f64() * 1e3);
            Figure::Millis(median(times.collect()))
        };
        let errors: usize = ours.iter().chain(&bare).map(|round| round.errors).sum();
        if errors > 0 {
            tell(&format!("  {errors} errors: POST /payments"));
        }
        Ok(Finding {
            what: "POST /payments / two commits and the same call",
            ours: mean(&ours),
            bare: Some(mean(&bare)),
            promise: Promise::AtMost(1.5),
        })
    }
}

/// One's own account while webhooks come, beside the same without.
async fn beside_webhooks(
    service: &Ours,
    tokens: &[Value],
    hooks: &Webhooks,
    length: Duration,
) -> Result<Finding> {
    let me = || {
        vec_of(|client| {
            let token = tokens[client % CONNECTIONS]["access_token"].as_str();
            Same(request("GET", "/api/v1/users/me", token, None))
        })
    };
    let (with, without) = by_turns(
        "GET /users/me beside 50 webhooks a second",
        length,
        async |turn| {
            let hooks = (0..4).map(|_| hooks.clone()).collect();
            let (reads, stored) = tokio::join!(
                load::run(service.addr, me(), turn),
                load::run_at(service.addr, hooks, turn, BESIDE),
            );
            stored?;
            reads
        },
        async |turn| load::run(service.addr, me(), turn).await,
    )
    .await?;
    Ok(rates(
        "GET /users/me beside 50 webhooks a second / without",
        &with,
        &without,
        0.9,
    ))
}

async fn owner(postgres: &Postgres) -> Result<PgConnection> {
    let mut owner = PgConnection::connect(&postgres.url("bench")).await?;
    sqlx::raw_sql("SET app.exception = 'job'")
        .execute(&mut owner)
        .await?;
    Ok(owner)
}
