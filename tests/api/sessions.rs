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
