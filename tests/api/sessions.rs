//! Seeing and ending one's sessions.

use reqwest::Method;
use std::time::Duration;

use crate::harness::{Answer, Session, TestApp};

const SESSIONS: &str = "/api/v1/auth/sessions";

impl Session {
    async fn sessions(&self) -> Vec<serde_json::Value> {
        let answer = self.get(SESSIONS).await;
        answer.assert_status(200);
        answer.body["items"]
            .as_array()
            .expect("it is a list")
            .clone()
    }

    /// The id of the session that asks.
    async fn id(&self) -> String {
        let sessions = self.sessions().await;
        let current = sessions
            .iter()
            .find(|session| session["is_current"] == true);
        current.expect("one is current")["id"]
            .as_str()
            .expect("it is text")
            .to_owned()
    }

    async fn end(&self, id: &str) -> Answer {
        let path = format!("{SESSIONS}/{id}");
        self.replica
            .call(Method::DELETE, &path, Some(self.access()), None)
            .await
    }
}

#[tokio::test]
async fn one_sees_ones_own_living_sessions_the_last_used_first() {
    let app = TestApp::new().await;
    let first = app.sign_in("ada").await;
    app.clock.advance(Duration::from_mins(1));
    let second = app.log_in("ada@example.com").await;
    app.sign_in("grace").await;
    let seen = second.sessions().await;
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (&seen[0]["is_current"], &seen[1]["is_current"]),
        (&true.into(), &false.into())
    );
    assert_eq!(seen[0]["ip"], "127.0.0.1");
    assert_eq!(seen[0]["created_at"], "2026-03-14T09:27:53Z");

    app.clock.advance(Duration::from_mins(1));
    app.replica
        .refresh(first.refresh_token())
        .await
        .assert_status(200);
    let seen = second.sessions().await;
    assert_eq!(seen[0]["is_current"], false, "the first was used last");
    assert_eq!(seen[0]["last_used_at"], "2026-03-14T09:28:53Z");
}

#[tokio::test]
async fn a_session_that_is_ended_is_refused_at_once() {
    let app = TestApp::new().await;
    let (here, there) = (
        app.sign_in("ada").await,
        app.log_in("ada@example.com").await,
    );
    here.end(&there.id().await).await.assert_status(204);
    assert!(!there.is_signed_in().await && here.is_signed_in().await);
    app.replica
        .refresh(there.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert_eq!(here.sessions().await.len(), 1);
    assert_eq!(app.audited("session_ended").await, 1);
}

#[tokio::test]
async fn what_is_not_ones_own_does_not_exist() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let foreign = ada.end(&grace.id().await).await;
    let unknown = ada.end("01980b6e-7c00-7000-8000-3f2a51d6c9b1").await;
    foreign.assert_problem(404, "not_found");
    unknown.assert_problem(404, "not_found");
    assert!(grace.is_signed_in().await);
    ada.end("nonsense").await.assert_problem(400, "bad_request");
    app.get(SESSIONS)
        .await
        .assert_problem(401, "unauthenticated");
    let nobody = app
        .replica
        .call(Method::DELETE, &format!("{SESSIONS}/x"), None, None)
        .await;
    nobody.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn of_twenty_who_end_one_session_one_does() {
    let app = TestApp::new().await;
    let (here, there) = (
        app.sign_in("ada").await,
        app.log_in("ada@example.com").await,
    );
    let id = there.id().await;
    let answers = futures_util::future::join_all((0..20).map(|_| here.end(&id))).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 204).count(),
        1
    );
    assert_eq!(app.audited("session_ended").await, 1);
}

/// All sessions of a list, page by page.
async fn pages(session: &Session, list: &str, limit: usize) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = session.get(&format!("{list}?limit={limit}{cursor}")).await;
        answer.assert_status(200);
        let items = answer.body["items"].as_array().expect("it is a list");
        assert!(items.len() <= limit);
        all.extend(items.iter().cloned());
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn id_of(item: &serde_json::Value) -> String {
    item["id"].as_str().expect("it is text").to_owned()
}

#[tokio::test]
async fn sessions_come_by_the_page_and_ones_own_is_among_them_once() {
    let app = TestApp::new().await;
    let own = app.sign_in("ada").await;
    for seconds in 0..24 {
        // Some begin at the same moment, which their ids tell apart.
        app.clock.advance(Duration::from_secs(seconds % 3));
        app.log_in("ada@example.com").await;
    }
    for limit in [1, 7, 24, 25, 100] {
        let seen = pages(&own, SESSIONS, limit).await;
        let ids: std::collections::HashSet<_> = seen.iter().map(id_of).collect();
        assert_eq!((seen.len(), ids.len()), (25, 25), "pages of {limit}");
        let current = seen.iter().filter(|item| item["is_current"] == true);
        assert_eq!(current.count(), 1);
        let used: Vec<_> = seen
            .iter()
            .map(|item| item["last_used_at"].as_str())
            .collect();
        assert!(used.is_sorted_by(|one, next| one >= next), "{used:?}");
    }
    let usual = own.get(SESSIONS).await;
    assert_eq!(usual.body["items"].as_array().map(Vec::len), Some(20));
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x", "page=2"] {
        let refused = own.get(&format!("{SESSIONS}?{wrong}")).await;
        refused.assert_problem(400, "bad_request");
    }
}

/// How many sessions ended for there being too many, as the audit log has it.
async fn displaced(app: &TestApp) -> i64 {
    let sum = "SELECT sum((detail->>'sessions')::bigint)::bigint FROM audit_log WHERE event = 'session_displaced'";
    sqlx::query_scalar(sum)
        .fetch_one(&app.owner_db)
        .await
        .expect("some were")
}

#[tokio::test]
async fn one_session_too_many_ends_the_one_that_was_used_longest_ago() {
    let app = TestApp::with(&[("SESSION_MAX_COUNT", "3")]).await;
    let first = app.sign_in("ada").await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        app.clock.advance(Duration::from_mins(1));
        sessions.push(app.log_in("ada@example.com").await);
    }
    app.clock.advance(Duration::from_mins(1));
    let used = app.replica.refresh(first.refresh_token()).await;
    used.assert_status(200);
    app.sign_in("grace").await;
    app.clock.advance(Duration::from_mins(1));
    let newest = app.log_in("ada@example.com").await;
    assert!(!sessions[0].is_signed_in().await, "it was used longest ago");
    for session in [&first, &sessions[1], &newest] {
        assert!(session.is_signed_in().await);
    }
    app.replica
        .refresh(sessions[0].refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("session_displaced").await, 1);
    let reason: String =
        sqlx::query_scalar("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
            .fetch_one(&app.owner_db)
            .await
            .expect("one has ended");
    assert_eq!(reason, "session_limit");
}

#[tokio::test]
async fn however_many_sign_in_at_once_no_more_sessions_live_than_may() {
    for most in ["1", "2", "5"] {
        let app = TestApp::with(&[("SESSION_MAX_COUNT", most)]).await;
        app.sign_up("ada").await;
        let other = app.another_replica().await;
        let body =
            serde_json::json!({ "email": "ada@example.com", "password": crate::harness::PASSWORD });
        let calls = (0..24).map(|client| {
            let replica = if client % 2 == 0 {
                &app.replica
            } else {
                &other
            };
            replica.call(Method::POST, "/api/v1/auth/login", None, Some(body.clone()))
        });
        for answer in futures_util::future::join_all(calls).await {
            answer.assert_status(200);
        }
        let living: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sessions WHERE ended_at IS NULL")
                .fetch_one(&app.owner_db)
                .await
                .expect("it counts");
        assert_eq!(living.to_string(), most);
        assert_eq!(displaced(&app).await, 24 - living);
    }
}

#[tokio::test]
async fn an_account_from_before_the_limit_is_brought_within_it_by_its_next_sign_in() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    sqlx::query(
        "INSERT INTO sessions (id, user_id, created_at, expires_at)
         SELECT gen_random_uuid(), id, $1 - n * interval '1 second', $1 + interval '1 day'
         FROM users, generate_series(1, 250) AS n",
    )
    .bind(app.clock.now())
    .execute(&app.owner_db)
    .await
    .expect("they begin");
    let ada = app.log_in("ada@example.com").await;
    let seen = pages(&ada, SESSIONS, 100).await;
    assert_eq!(seen.len(), 100);
    assert_eq!(displaced(&app).await, 151);
    assert_eq!(app.audited("session_displaced").await, 1);
}
