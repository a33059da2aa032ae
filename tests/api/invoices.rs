//! Invoices: listed with their links, to their account.

use serde_json::json;

use crate::harness::{Session, TestApp};

const INVOICES: &str = "/api/v1/billing/invoices";

async fn insert(app: &TestApp, owner: &Session, count: i32) {
    sqlx::query(
        "INSERT INTO invoices (id, account_id, stripe_invoice_id, number, status, total, amount_due, amount_paid,
                               amount_remaining, currency, attempt_count, hosted_url, pdf_url, period_start, period_end,
                               created_at, updated_at)
         SELECT gen_random_uuid(), $1::uuid, 'in_' || $1 || n, 'A-' || n, 'paid', 2900, 2900, 2900, 0, 'USD', 1,
                'https://invoice.stripe.com/i/' || n, 'https://pay.stripe.com/invoice/' || n || '/pdf',
                timestamptz '2026-01-01T00:00:00Z', timestamptz '2026-02-01T00:00:00Z',
                timestamptz '2026-01-01T00:00:00Z' + make_interval(days => n), now()
         FROM generate_series(1, $2) AS n",
    )
    .bind(owner.user_id().await)
    .bind(count)
    .execute(&app.owner_db)
    .await
    .expect("they are written");
}

#[tokio::test]
async fn invoices_are_listed_newest_first_with_their_links_and_only_to_their_account() {
    let app = TestApp::new().await;
    let (ada, eve) = (app.sign_in("ada").await, app.sign_in("eve").await);
    insert(&app, &ada, 5).await;
    insert(&app, &eve, 1).await;
    let mut numbers = Vec::new();
    let mut path = format!("{INVOICES}?limit=2");
    loop {
        let page = ada.get(&path).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("a list");
        numbers.extend(items.iter().map(|item| item["number"].clone()));
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        path = format!("{INVOICES}?limit=2&cursor={cursor}");
    }
    assert_eq!(numbers, ["A-5", "A-4", "A-3", "A-2", "A-1"]);
    let newest = ada.get(&format!("{INVOICES}?limit=1")).await.body["items"][0].clone();
    assert_eq!(newest["status"], "paid");
    assert_eq!(
        (&newest["total"], &newest["currency"]),
        (&json!(2_900), &json!("USD"))
    );
    assert_eq!(newest["hosted_url"], "https://invoice.stripe.com/i/5");
    assert_eq!(newest["pdf_url"], "https://pay.stripe.com/invoice/5/pdf");
    assert!(newest.get("stripe_invoice_id").is_none());
    let theirs = eve.get(INVOICES).await;
    assert_eq!(theirs.body["items"].as_array().map(Vec::len), Some(1));
}
