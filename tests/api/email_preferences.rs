//! Optional emails: links that unsubscribe, and the page that all emails link to.

mod one_click;
mod refusals;
mod suppression;

use std::sync::Arc;

use groundwork::usage_summary::ScheduleNewSummaries;
use groundwork_dev::inbox::Message;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, Session, TestApp};

pub const ADA: &str = "ada@example.com";
const CONSENTS: &str = "/api/v1/users/me/consents";

impl Session {
    /// Turns optional emails on or off.
    pub async fn choose(&self, choice: Value) -> Answer {
        let token = Some(self.access());
        let call = self
            .replica
            .call(Method::PUT, CONSENTS, token, Some(choice));
        call.await
    }

    /// Returns whether a kind is on.
    pub async fn has_asked_for(&self, kind: &str) -> bool {
        let answer = self.get(CONSENTS).await;
        answer.assert_status(200);
        let optional = answer.body["optional"].as_array().expect("it is a list");
        let found = optional.iter().find(|it| it["kind"] == kind);
        found.expect("the kind exists")["is_given"] == true
    }
}

impl TestApp {
    /// A session of a user who has asked for the summary.
    pub async fn subscriber(&self, name: &str) -> Session {
        let session = self.sign_in(name).await;
        let asked = session.choose(json!({ "usage_summary": true })).await;
        asked.assert_status(200);
        session
    }

    /// Leaves the jobs of summaries in the queue.
    pub async fn enqueue_summaries(&self) {
        let job = ScheduleNewSummaries::default();
        job_queue::enqueue(&self.state.db, &job, None)
            .await
            .expect("it is enqueued");
    }

    /// The summary that this address gets now.
    pub async fn summary_to(&self, email: &str) -> Arc<Message> {
        self.enqueue_summaries().await;
        let message = self.email_to(email).await;
        assert!(message.subject.contains("monthly usage"), "{message:?}");
        message
    }
}

/// The link of an email's header, by which a mail client unsubscribes.
pub fn unsubscribe_link(message: &Message) -> Url {
    let header = message.header("List-Unsubscribe").expect("it has one");
    let url = header.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    let url = url.unwrap_or_else(|| panic!("{header}"));
    url.parse().expect("it is a URL")
}

#[tokio::test]
async fn optional_emails_have_the_headers_and_links_to_end_them() {
    let app = TestApp::with(&[("PUBLIC_URL", "http://127.0.0.1/base")]).await;
    app.subscriber("ada").await;
    let message = app.summary_to(ADA).await;
    let link = unsubscribe_link(&message);
    let prefix = "http://127.0.0.1/base/unsubscribe/usage_summary.";
    assert!(link.as_str().starts_with(prefix), "{link}");
    assert_eq!(
        message.header("List-Unsubscribe-Post"),
        Some("List-Unsubscribe=One-Click")
    );
    let preferences = "http://127.0.0.1/base/email-preferences";
    for url in [link.as_str(), preferences] {
        assert!(message.text.contains(url), "{}", message.text);
    }
    let links = message.html.matches("href=").count();
    assert_eq!(links, 2, "{}", message.html);
}

#[tokio::test]
async fn other_emails_link_to_the_preferences_and_cannot_be_turned_off() {
    let app = TestApp::with(&[("LINK_URL", "https://app.example.com/account")]).await;
    app.register(ADA).await;
    let message = app.email_to(ADA).await;
    let preferences = "https://app.example.com/account/email-preferences";
    assert!(message.text.contains(preferences), "{}", message.text);
    assert_eq!(message.header("List-Unsubscribe"), None);
    assert_eq!(message.header("List-Unsubscribe-Post"), None);
    assert!(!message.text.contains("/unsubscribe/"), "{}", message.text);
}

#[tokio::test]
async fn the_page_of_preferences_is_served_to_everybody_and_has_a_script_of_ours() {
    let app = TestApp::new().await;
    let page = app.get("/email-preferences").await;
    page.assert_status(200);
    let text = String::from_utf8_lossy(&page.bytes).into_owned();
    let script = r#"<script src="assets/email-preferences.js"></script>"#;
    assert!(text.contains(script), "{text}");
    let script = app.get("/assets/email-preferences.js").await;
    script.assert_status(200);
    assert_eq!(
        script.headers["content-type"],
        "text/javascript; charset=utf-8"
    );
}

#[tokio::test]
async fn an_address_that_changes_gets_a_link_of_its_own() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let old = unsubscribe_link(&*app.summary_to(ADA).await);
    set_address(&app, "ada@example.org").await;
    one_click::post(&app, old.path())
        .await
        .assert_problem(404, "not_found");
    assert!(ada.has_asked_for("usage_summary").await);
    sqlx::query("DELETE FROM usage_summaries")
        .execute(&app.owner_db)
        .await
        .expect("they are deleted");
    let new = unsubscribe_link(&*app.summary_to("ada@example.org").await);
    one_click::post(&app, new.path()).await.assert_status(200);
    assert!(!ada.has_asked_for("usage_summary").await);
}

async fn set_address(app: &TestApp, email: &str) {
    sqlx::query("UPDATE users SET email = $2 WHERE email = $1")
        .bind(ADA)
        .bind(email)
        .execute(&app.owner_db)
        .await
        .expect("it is set");
}
