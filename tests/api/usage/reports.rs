//! Reports that take long: they end, they leave connections to others, and they do so too when their
//! clients hang up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgConnection;

use super::{CURRENT, USAGE};
use crate::harness::{PASSWORD, Session, TestApp};

/// Fewer connections than reports.
const SETTINGS: [(&str, &str); 5] = [
    // Longer than the timeout of reports, which is to end them.
    ("DB_LOCK_TIMEOUT", "30s"),
    ("DB_POOL_SIZE", "4"),
    ("DB_MAX_OVERFLOW", "2"),
    ("USAGE_REPORTS", "3"),
    ("USAGE_REPORT_TIMEOUT", "5s"),
];

/// Makes every report by the day wait, until the connection is closed.
async fn hold_up(app: &TestApp) -> PgConnection {
    let mut owner = app.owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE usage_daily IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    owner
}

async fn running(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'active' AND query LIKE 'SELECT start AS %'
             AND pid <> pg_backend_pid()",
    )
    .fetch_one(connection)
    .await
    .expect("it answers")
}

async fn until_running(app: &TestApp, wanted: i64) {
    let began = Instant::now();
    let mut connection = app.owner().await;
    while running(&mut connection).await != wanted {
        assert!(began.elapsed() < Duration::from_mins(1), "never {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sign_in_beside(app: &TestApp) {
    let sign_in = json!({ "email": "ada@example.com", "password": PASSWORD });
    let signed_in = app.post("/api/v1/auth/login", sign_in).await;
    signed_in.assert_status(200);
}

#[tokio::test]
async fn forty_reports_of_one_account_take_two_connections_and_the_rest_is_rejected() {
    let app = TestApp::with(&SETTINGS).await;
    let ada = app.sign_in("ada").await;
    let holder = hold_up(&app).await;
    let reports = join_all((0..40).map(|_| ada.get(USAGE)));
    let beside = async {
        until_running(&app, 2).await;
        for _ in 0..3 {
            sign_in_beside(&app).await;
            ada.get(CURRENT).await.assert_status(200);
        }
    };
    let (answers, ()) = tokio::join!(reports, beside);
    let mut timed_out = 0;
    for answer in answers {
        if answer.status == 503 {
            answer.assert_problem(503, "deadline_exceeded");
            timed_out += 1;
        } else {
            answer.assert_problem(429, "rate_limited");
        }
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(timed_out, 2, "two ran until the timeout");
    drop(holder);
    ada.get(USAGE).await.assert_status(200);
}

#[tokio::test]
async fn reports_of_many_accounts_leave_connections_to_others() {
    let app = TestApp::with(&SETTINGS).await;
    let mut sessions = vec![app.sign_in("ada").await];
    for name in ["bob", "eve", "grace", "judy"] {
        sessions.push(app.sign_in(name).await);
    }
    let holder = hold_up(&app).await;
    let reports = join_all(sessions.iter().map(|session| session.get(USAGE)));
    let beside = async {
        until_running(&app, 3).await;
        sign_in_beside(&app).await;
    };
    let (answers, ()) = tokio::join!(reports, beside);
    let busy = answers.iter().filter(|it| it.body["code"] == "busy");
    assert_eq!(busy.count(), 2, "two found all three slots taken");
    drop(holder);
    for session in &sessions {
        session.get(USAGE).await.assert_status(200);
    }
}

#[tokio::test]
async fn a_report_whose_client_hung_up_keeps_its_slot_and_ends_by_the_timeout() {
    let app = TestApp::with(&SETTINGS).await;
    let ada = app.sign_in("ada").await;
    let holder = hold_up(&app).await;
    let waiting = [(); 2].map(|()| {
        let request = ada.replica.request(reqwest::Method::GET, USAGE);
        tokio::spawn(request.bearer_auth(ada.access()).send())
    });
    until_running(&app, 2).await;
    for client in waiting {
        client.abort();
    }
    let began = Instant::now();
    let refused = ada.get(USAGE).await;
    refused.assert_problem(429, "rate_limited");
    until_running(&app, 0).await;
    assert!(began.elapsed() < Duration::from_secs(25), "they go on");
    drop(holder);
    ada.get(USAGE).await.assert_status(200);
}

#[tokio::test]
async fn the_timeout_of_reports_stays_with_the_report() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "1"), ("DB_MAX_OVERFLOW", "0")]).await;
    let ada = app.sign_in("ada").await;
    let timeout = async || -> String {
        sqlx::query_scalar("SELECT current_setting('statement_timeout')")
            .fetch_one(&app.owner_db)
            .await
            .expect("it answers")
    };
    let before = timeout().await;
    let session: &Session = &ada;
    session.get(USAGE).await.assert_status(200);
    assert_eq!(timeout().await, before);
}
