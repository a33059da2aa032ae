//! Stripe while it is slow, refuses calls, or loses responses, and processes that die in between: one payment each.

use std::time::Duration;

use groundwork::payments::SettlePayments;
use groundwork_dev::stripe::FaultAction;

use super::{INTENTS, row, usd};
use crate::kit::stripe::{StripeApp, fault, status, stripe_app, stripe_app_with};

/// More than the tries of one call.
const ALWAYS: u32 = 1_000;

impl StripeApp {
    async fn run_settlement(&self) {
        job_queue::enqueue(&self.app.state.db, &SettlePayments {}, None)
            .await
            .expect("it is enqueued");
        self.app.run_jobs().await;
    }
}

#[tokio::test]
async fn a_lost_response_is_found_again_and_creates_no_second_payment() {
    let cases = [
        ("cut", FaultAction::CutAfterEffect),
        ("error", FaultAction::ErrorAfterEffect),
    ];
    for (name, action) in cases {
        let it = stripe_app(&format!("lost{name}")).await;
        let ada = it.app.sign_in("ada").await;
        it.account.fault(fault("POST", INTENTS, 1, action.clone()));
        let created = ada.pay("k-1", &usd(500)).await;
        created.assert_status(201);
        let intents = it.intents();
        assert_eq!(intents.len(), 1, "{name}");
        assert_eq!(created.body["client_secret"], intents[0]["client_secret"]);

        // Nothing can be read either: the outcome stays unknown until the request is repeated.
        it.account.fault(fault("POST", INTENTS, 1, action));
        it.lose(false);
        let unknown = ada.pay("k-2", &usd(600)).await;
        unknown.assert_problem(503, "billing_unavailable");
        assert!(unknown.headers.contains_key("retry-after"));
        assert_eq!(it.intents().len(), 2, "{name}");
        it.account.clear_faults();
        let settled = ada.pay("k-2", &usd(600)).await;
        settled.assert_status(201);
        let intents = it.intents();
        assert_eq!(intents.len(), 2, "{name}");
        assert_eq!(settled.body["client_secret"], intents[1]["client_secret"]);
        assert_eq!(it.app.audited("payment_created").await, 2);
    }
}

#[tokio::test]
async fn a_call_that_had_no_effect_is_repeated_under_the_same_key() {
    for (name, action) in [
        ("limited", status(429)),
        ("unavailable", status(503)),
        ("cut", FaultAction::CutBefore),
    ] {
        let it = stripe_app(&format!("none{name}")).await;
        let ada = it.app.sign_in("ada").await;
        it.account.fault(fault("POST", INTENTS, ALWAYS, action));
        let refused = ada.pay("k-1", &usd(500)).await;
        refused.assert_problem(503, "billing_unavailable");
        assert!(refused.headers.contains_key("retry-after"));
        let (status, detailed, intent, is_answered) = row(&it.app).await;
        assert_eq!((status.as_str(), detailed.as_str()), ("pending", "pending"));
        assert_eq!((intent, is_answered), (None, false));
        // The row is that of this body.
        let other = ada.pay("k-1", &usd(501)).await;
        other.assert_problem(422, "idempotency_key_reused");
        it.account.clear_faults();
        ada.pay("k-1", &usd(500)).await.assert_status(201);
        let keys: std::collections::HashSet<_> = it
            .account
            .requests()
            .into_iter()
            .filter(|call| call.method == "POST" && call.path == INTENTS)
            .map(|call| call.idempotency_key)
            .collect();
        assert_eq!((it.intents().len(), keys.len()), (1, 1), "{name}");
        assert!(row(&it.app).await.3);
    }
}

#[tokio::test]
async fn a_slow_stripe_gets_one_payment_and_the_client_a_reply_in_time() {
    let it = stripe_app_with("slow", &[("STRIPE_TIMEOUT", "1s")]).await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-0", &usd(500)).await.assert_status(201);
    it.account
        .fault(fault("POST", INTENTS, 1, FaultAction::Delay(4_000)));
    let began = std::time::Instant::now();
    let late = ada.pay("k-1", &usd(600)).await;
    assert!(began.elapsed() < Duration::from_secs(4));
    late.assert_problem(503, "billing_unavailable");
    tokio::time::sleep(Duration::from_secs(5)).await;
    ada.pay("k-1", &usd(600)).await.assert_status(201);
    assert_eq!(it.intents().len(), 2);
}

/// A process that dies leaves what it has committed: the row, and the payment intent if the call was made.
#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_one_payment() {
    for (name, is_made) in [("before", false), ("after", true)] {
        let it = stripe_app(&format!("crash{name}")).await;
        let ada = it.app.sign_in("ada").await;
        it.lose(is_made);
        ada.pay("k-1", &usd(500)).await.assert_status(503);
        assert_eq!(it.intents().len(), usize::from(is_made));
        it.account.clear_faults();
        // Another process, after the restart.
        let other = it.app.another_replica().await;
        let created = super::post(&other, ada.access(), "k-1", &usd(500)).await;
        created.assert_status(201);
        let again = ada.pay("k-1", &usd(500)).await;
        assert_eq!(again.bytes, created.bytes);
        assert_eq!(it.intents().len(), 1);
        assert_eq!(it.account.objects("customer").len(), 1);
    }
}

#[tokio::test]
async fn an_outcome_older_than_stripes_keys_is_settled_by_reading() {
    for (name, is_made) in [("there", true), ("gone", false)] {
        let it = stripe_app(&format!("old{name}")).await;
        let ada = it.app.sign_in("ada").await;
        it.lose(is_made);
        ada.pay("k-1", &usd(500)).await.assert_status(503);
        it.account.clear_faults();
        it.account.clear_requests();
        it.app.clock.advance(Duration::from_hours(30));
        let ada = it.app.log_in("ada@example.com").await;
        let settled = ada.pay("k-1", &usd(500)).await;
        settled.assert_status(201);
        assert_eq!(it.intents().len(), 1);
        assert_eq!(it.creations(), usize::from(!is_made), "{name}");
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM payments WHERE detailed_status <> 'canceled'")
                .fetch_one(&it.app.owner_db)
                .await
                .expect("they are counted");
        assert_eq!(rows, 1);
    }
}

#[tokio::test]
async fn the_daily_job_settles_payments_that_nobody_asks_for_again() {
    for (name, is_made) in [("there", true), ("gone", false)] {
        let it = stripe_app(&format!("job{name}")).await;
        let ada = it.app.sign_in("ada").await;
        it.lose(is_made);
        ada.pay("k-1", &usd(500)).await.assert_status(503);
        it.account.clear_faults();
        it.run_settlement().await;
        assert_eq!(row(&it.app).await.1, "pending", "the client may repeat it");

        it.app.clock.advance(Duration::from_hours(2));
        it.run_settlement().await;
        let expected = if is_made {
            "requires_payment_method"
        } else {
            "pending"
        };
        assert_eq!(row(&it.app).await.1, expected);

        it.app.clock.advance(Duration::from_hours(24));
        it.run_settlement().await;
        let (status, detailed, intent, is_answered) = row(&it.app).await;
        if is_made {
            assert_eq!(detailed, "requires_payment_method");
            assert!(intent.is_some() && !is_answered);
        } else {
            assert_eq!((status.as_str(), detailed.as_str()), ("failed", "canceled"));
        }
        // The client comes back: it gets the payment that is there, or a new one.
        let ada = it.app.log_in("ada@example.com").await;
        ada.pay("k-1", &usd(500)).await.assert_status(201);
        assert_eq!(it.intents().len(), 1);
    }
}
