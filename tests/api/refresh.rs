//! Going on with a session: promise 1.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Session, TestApp};

/// The refresh token in an answer.
fn token(answer: &crate::harness::Answer) -> String {
    answer.body["refresh_token"]
        .as_str()
        .expect("there is a refresh token")
        .to_owned()
}

async fn living_tokens(app: &TestApp) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM sessions WHERE token_hash IS NOT NULL AND ended_at IS NULL",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it counts")
}

#[tokio::test]
async fn each_use_gives_the_next_pair() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut last = ada.refresh_token().to_owned();
    let mut seen = HashSet::from([last.clone()]);
    for _ in 0..5 {
        app.clock.advance(Duration::from_mins(10));
        let answer = app.replica.refresh(&last).await;
        answer.assert_status(200);
        assert_eq!(answer.body["expires_in"], 900);
        last = token(&answer);
        assert!(
            seen.insert(last.clone()),
            "a token is never given out twice"
        );
        let session = Session {
            replica: app.replica.clone(),
            tokens: answer.body,
        };
        assert!(session.is_signed_in().await);
    }
    assert_eq!(living_tokens(&app).await, 1);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_within_the_grace() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let lost = app.replica.refresh(ada.refresh_token()).await;
    app.clock.advance(Duration::from_secs(9));
    let retried = app.replica.refresh(ada.refresh_token()).await;
    retried.assert_status(200);
    assert_eq!(token(&lost), token(&retried), "there is one chain");
    assert_eq!(living_tokens(&app).await, 1);
    app.clock.advance(Duration::from_mins(1));
    app.replica
        .refresh(&token(&retried))
        .await
        .assert_status(200);
    assert_eq!(app.audited("refresh_token_reused").await, 0);
}

#[tokio::test]
async fn a_tab_that_is_late_gets_the_living_end_of_the_chain() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let second = token(&app.replica.refresh(ada.refresh_token()).await);
    let third = token(&app.replica.refresh(&second).await);
    let late = app.replica.refresh(ada.refresh_token()).await;
    late.assert_status(200);
    assert_eq!(token(&late), third);
    assert_eq!(living_tokens(&app).await, 1);
}

#[tokio::test]
async fn twenty_tabs_on_two_replicas_refresh_at_once_and_nobody_is_signed_out() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let other = app.another_replica().await;
    for round in 0..5 {
        app.clock.advance(Duration::from_mins(1));
        let fresh = app.log_in("ada@example.com").await;
        let calls = (0..20).map(|tab| {
            let replica = if tab % 2 == 0 { &app.replica } else { &other };
            replica.refresh(fresh.refresh_token())
        });
        let answers = join_all(calls).await;
        let tokens: HashSet<_> = answers
            .iter()
            .map(|answer| {
                answer.assert_status(200);
                token(answer)
            })
            .collect();
        assert_eq!(tokens.len(), 1, "round {round}: there is one chain");
        for answer in answers {
            let session = Session {
                replica: other.clone(),
                tokens: answer.body,
            };
            assert!(session.is_signed_in().await);
        }
        app.clock.advance(Duration::from_mins(1));
        other
            .refresh(tokens.iter().next().expect("there is one"))
            .await
            .assert_status(200);
    }
    assert_eq!(app.audited("refresh_token_reused").await, 0);
    app.replica
        .refresh(ada.refresh_token())
        .await
        .assert_status(200);
}

#[tokio::test]
async fn reuse_after_the_grace_ends_that_session_and_no_other() {
    let app = TestApp::new().await;
    let stolen_from = app.sign_in("ada").await;
    let elsewhere = app.log_in("ada@example.com").await;
    let newest = app.replica.refresh(stolen_from.refresh_token()).await;
    app.clock.advance(Duration::from_secs(11));

    let reused = app.replica.refresh(stolen_from.refresh_token()).await;
    reused.assert_problem(401, "invalid_refresh_token");
    app.replica
        .refresh(&token(&newest))
        .await
        .assert_problem(401, "invalid_refresh_token");
    let killed = Session {
        replica: app.replica.clone(),
        tokens: newest.body,
    };
    assert!(
        !killed.is_signed_in().await,
        "its access token is refused as well"
    );
    assert!(!stolen_from.is_signed_in().await);

    assert!(elsewhere.is_signed_in().await);
    app.replica
        .refresh(elsewhere.refresh_token())
        .await
        .assert_status(200);
    assert_eq!(app.audited("refresh_token_reused").await, 1);
    // The session is dead already: nothing is left to be told or done.
    app.replica
        .refresh(stolen_from.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 1);
}

#[tokio::test]
async fn of_twenty_reuses_after_the_grace_one_is_reported() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.replica
        .refresh(ada.refresh_token())
        .await
        .assert_status(200);
    app.clock.advance(Duration::from_secs(11));
    for answer in join_all((0..20).map(|_| app.replica.refresh(ada.refresh_token()))).await {
        answer.assert_problem(401, "invalid_refresh_token");
    }
    assert_eq!(app.audited("refresh_token_reused").await, 1);
    assert_eq!(living_tokens(&app).await, 0);
}

#[tokio::test]
async fn a_session_ends_when_idle_and_at_its_age() {
    let settings = [("SESSION_IDLE_TTL", "1h"), ("SESSION_MAX_TTL", "2h")];
    let app = TestApp::with(&settings).await;
    let idle = app.sign_in("ada").await;
    app.clock.advance(Duration::from_hours(1));
    app.replica
        .refresh(idle.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");

    let busy = app.log_in("ada@example.com").await;
    let mut last = busy.refresh_token().to_owned();
    for minutes_left in [90, 60, 30] {
        app.clock.advance(Duration::from_mins(30));
        let answer = app.replica.refresh(&last).await;
        assert_eq!(answer.body["refresh_expires_in"], minutes_left.min(60) * 60);
        last = token(&answer);
    }
    app.clock.advance(Duration::from_mins(30));
    app.replica
        .refresh(&last)
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 0);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.replica
        .refresh(&"A".repeat(43))
        .await
        .assert_problem(401, "invalid_refresh_token");
    app.replica
        .refresh(ada.access())
        .await
        .assert_field("refresh_token");
    app.replica.refresh("").await.assert_field("refresh_token");
    app.post("/api/v1/auth/refresh", json!({}))
        .await
        .assert_field("refresh_token");
    // An array is no object, even where its items would fit the fields.
    app.post("/api/v1/auth/refresh", json!([ada.refresh_token()]))
        .await
        .assert_problem(422, "invalid_fields");
}

#[tokio::test]
async fn only_hashes_of_tokens_are_stored() {
    let app = TestApp::with(&[("LEGACY_REFRESH_TOKENS", "true")]).await;
    let ada = app.sign_in("ada").await;
    let newest = token(&app.replica.refresh(ada.refresh_token()).await);
    let dump: Vec<String> = sqlx::query_scalar("SELECT refresh_tokens::text FROM refresh_tokens")
        .fetch_all(&app.owner_db)
        .await
        .expect("they are there");
    assert_eq!(dump.len(), 2);
    let all = dump.join("\n");
    assert!(!all.contains(ada.refresh_token()) && !all.contains(&newest));
    // Those of this release: `refresh_tokens::a_token_is_made_neither_of_the_database_…`.
}

#[tokio::test]
async fn a_client_that_hangs_up_cannot_stop_the_end_of_a_reused_session() {
    let app = TestApp::new().await;
    for _ in 0..10 {
        let ada = if app.audited("registered").await == 0 {
            app.sign_in("ada").await
        } else {
            app.log_in("ada@example.com").await
        };
        app.replica
            .refresh(ada.refresh_token())
            .await
            .assert_status(200);
        app.clock.advance(Duration::from_secs(11));
        let request = app
            .replica
            .request(reqwest::Method::POST, "/api/v1/auth/refresh");
        let request = request.json(&json!({ "refresh_token": ada.refresh_token() }));
        // Hangs up while the service is at it.
        let _ = tokio::time::timeout(Duration::from_millis(3), request.send()).await;
    }
    // Whoever got through ended the session whole: never one half of the two rows.
    let broken: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM sessions WHERE end_reason = 'token_reused')
              - (SELECT count(*) FROM audit_log WHERE event = 'refresh_token_reused')",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it counts");
    assert_eq!(broken, 0);
}
