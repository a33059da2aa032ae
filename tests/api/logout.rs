//! Signing out, here and everywhere.

use std::time::{Duration, Instant};

use groundwork::auth;
use reqwest::Method;
use serde_json::json;
use session_tokens::RevocationStatus;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Answer, Session, TestApp, fastest};

pub const LOGOUT: &str = "/api/v1/auth/logout";
const LOGOUT_ALL: &str = "/api/v1/auth/logout-all";

impl Session {
    pub async fn log_out(&self, path: &str) -> Answer {
        self.replica
            .call(Method::POST, path, Some(self.access()), None)
            .await
    }
}

#[tokio::test]
async fn signing_out_ends_this_session_at_once_and_no_other() {
    let app = TestApp::new().await;
    let here = app.sign_in("ada").await;
    let there = app.log_in("ada@example.com").await;
    let answer = here.log_out(LOGOUT).await;
    answer.assert_status(204);
    assert!(answer.bytes.is_empty());
    assert!(!here.is_signed_in().await);
    app.replica
        .refresh(here.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    here.log_out(LOGOUT)
        .await
        .assert_problem(401, "unauthenticated");
    assert!(there.is_signed_in().await);
    assert_eq!(app.audited("signed_out").await, 1);
    assert_eq!(app.audited("refresh_token_reused").await, 0);
}

#[tokio::test]
async fn a_refresh_token_signs_out_a_client_without_an_access_token() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.clock.advance(Duration::from_hours(1));
    ada.log_out(LOGOUT)
        .await
        .assert_problem(401, "unauthenticated");
    let named = json!({ "refresh_token": ada.refresh_token() });
    app.post(LOGOUT, named.clone()).await.assert_status(204);
    app.replica
        .refresh(ada.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    app.post(LOGOUT, named).await.assert_status(204); // there is nothing left to end
    app.post(LOGOUT, json!({ "refresh_token": "A".repeat(43) }))
        .await
        .assert_status(204);
    app.post(LOGOUT, json!({ "refresh_token": "A" }))
        .await
        .assert_field("refresh_token");
}

#[tokio::test]
async fn signing_out_needs_to_be_signed_in() {
    let app = TestApp::new().await;
    app.replica
        .call(Method::POST, LOGOUT, None, None)
        .await
        .assert_problem(401, "unauthenticated");
    app.replica
        .call(Method::POST, LOGOUT_ALL, None, None)
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_of_ones_own_sessions_on_every_replica() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let here = app.sign_in("ada").await;
    let mut there = app.log_in("ada@example.com").await;
    there.replica = other.clone();
    let grace = app.sign_in("grace").await;
    here.log_out(LOGOUT_ALL).await.assert_status(204);
    for session in [&here, &there] {
        assert!(!session.is_signed_in().await);
        app.replica
            .refresh(session.refresh_token())
            .await
            .assert_problem(401, "invalid_refresh_token");
    }
    assert!(grace.is_signed_in().await);
    assert_eq!(app.audited("signed_out_everywhere").await, 1);
}

#[tokio::test]
async fn another_replica_refuses_an_ended_session_within_a_second_without_asking_each_time() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let stop = CancellationToken::new();
    let watch = tokio::spawn(auth::watch_revocations(other.state.clone(), stop.clone()));
    let list = &other.state.revocation_list;
    while list.status(Uuid::nil(), Uuid::nil()) != RevocationStatus::Active {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let email = app.sign_up("ada").await;
    let second = Duration::from_secs(1);
    let took = fastest(second, async || {
        let mut ada = app.log_in(&email).await;
        ada.replica = other.clone();
        assert!(ada.is_signed_in().await);

        let ended = app
            .replica
            .call(Method::POST, LOGOUT, Some(ada.access()), None)
            .await;
        ended.assert_status(204);
        let began = Instant::now();
        while ada.is_signed_in().await {
            assert!(began.elapsed() < Duration::from_mins(1), "it is accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    })
    .await;
    assert!(took < second, "after {took:?}");
    stop.cancel();
    watch.await.expect("the watch ends");
}

#[tokio::test]
async fn of_twenty_concurrent_sign_outs_one_is_audited() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let answers = futures_util::future::join_all((0..20).map(|_| ada.log_out(LOGOUT))).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 204 | 401))
    );
    assert_eq!(app.audited("signed_out").await, 1);
}
