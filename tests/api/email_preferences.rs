//! Optional emails: links that unsubscribe, and the page that all emails link to.

pub mod one_click;
mod refusals;
mod suppression;

use std::sync::Arc;

use groundwork::consents::OptionalKind;
use groundwork::email_preferences::{Outcome, find_recipient};
use groundwork::ids::UserId;
use groundwork::mail::EmailMessage;
use groundwork_dev::inbox::Message;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, Session, TestApp};

pub const ADA: &str = "ada@example.com";
/// Subject of the message that the tests send as news.
const NEWS: &str = "Your account at Groundwork has a second factor";
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
    /// A session of a user who has asked for news.
    pub async fn subscriber(&self, name: &str) -> Session {
        let session = self.sign_in(name).await;
        let asked = session.choose(json!({ "product_news": true })).await;
        asked.assert_status(200);
        session
    }

    /// Sends news to the user with this address. The kind makes any message an optional one.
    pub async fn send_news(&self, email: &str) -> Outcome {
        let user_id = sqlx::query_scalar("SELECT id FROM users WHERE email = $1")
            .bind(email)
            .fetch_one(&self.owner_db)
            .await
            .expect("it is there");
        let kind = OptionalKind::ProductNews;
        let found = find_recipient(&self.state, UserId(user_id), kind).await;
        let Some(recipient) = found.expect("it is read") else {
            return Outcome::NotAsked;
        };
        let sent = recipient.send(&self.state, &EmailMessage::SecondFactorOn {}, None);
        sent.await.expect("it is sent or suppressed")
    }

    /// The news that this address gets now.
    pub async fn news_to(&self, email: &str) -> Arc<Message> {
        assert_eq!(self.send_news(email).await, Outcome::Sent);
        let message = self.email_to(email).await;
        assert_eq!(message.subject, NEWS, "{message:?}");
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
    let message = app.news_to(ADA).await;
    let link = unsubscribe_link(&message);
    let prefix = "http://127.0.0.1/base/unsubscribe/product_news.";
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
    let old = unsubscribe_link(&*app.news_to(ADA).await);
    set_address(&app, "ada@example.org").await;
    one_click::post(&app, old.path())
        .await
        .assert_problem(404, "not_found");
    assert!(ada.has_asked_for("product_news").await);
    let new = unsubscribe_link(&*app.news_to("ada@example.org").await);
    one_click::post(&app, new.path()).await.assert_status(200);
    assert!(!ada.has_asked_for("product_news").await);
}

async fn set_address(app: &TestApp, email: &str) {
    sqlx::query("UPDATE users SET email = $2 WHERE email = $1")
        .bind(ADA)
        .bind(email)
        .execute(&app.owner_db)
        .await
        .expect("it is set");
}
