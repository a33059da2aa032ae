//! Somebody signs up with the terms, exports the data, deletes the account, changes their mind, and deletes it for good.

use std::io::{Cursor, Read as _};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use zip::ZipArchive;

use super::chromium::Browser;
use super::session::{call, json_body, page};
use crate::harness::{PASSWORD, TestApp};

const ADA: &str = "ada@example.com";
const ME: &str = "/api/v1/users/me";
const EXPORT: &str = "/api/v1/users/me/export";

/// A page of the product in the browser.
struct Tab {
    browser: Browser,
    app: TestApp,
    csrf: Option<String>,
}

impl Tab {
    async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let body = json_body(&body, self.csrf.as_deref());
        call(&self.browser, &self.app, method, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        call(&self.browser, &self.app, "GET", path, json!({})).await
    }

    async fn log_in(&mut self) -> Value {
        self.csrf = None;
        let body = json!({ "email": ADA, "password": PASSWORD, "transport": "cookie" });
        let answer = self.send("POST", "/api/v1/auth/login", body).await;
        let csrf = answer["body"]["csrf_token"].as_str();
        self.csrf = csrf.map(str::to_owned);
        answer
    }

    /// Signs up with the documents that the product shows, and follows the link in the email.
    async fn sign_up(&self, own: &Url) {
        let legal = self.get("/api/v1/legal").await;
        let documents = &legal["body"]["documents"];
        let body = json!({ "email": ADA, "password": PASSWORD, "terms": documents[0]["version"],
            "privacy_notice": documents[1]["version"] });
        let answer = self.send("POST", "/api/v1/auth/register", body).await;
        assert_eq!(answer["status"], 202, "{answer}");
        let email = self.app.email_to(ADA).await;
        let mut links = email.links().into_iter();
        let link = links.find(|link| link.path() == "/verify-email");
        let mut link = link.expect("there is a link");
        link.set_port(self.app.replica.root.port())
            .expect("it is a web address");
        self.browser.open(link).await;
        self.browser.click("#confirm").await;
        let is_confirmed = |text: &str| text.contains("is confirmed");
        self.browser.read("#message", is_confirmed).await;
        self.browser.open(own.clone()).await;
    }

    /// Saves the archive of an export.
    async fn download(&self, id: &str) -> Vec<u8> {
        let path = format!("{EXPORT}/{id}/download");
        let url = self.app.replica.root.join(&path).expect("it is a path");
        let script = "
            const [url, options, name] = given;
            const reply = await fetch(url, { method: 'POST', credentials: 'include', ...options });
            const link = document.createElement('a');
            link.href = URL.createObjectURL(await reply.blob());
            link.download = name;
            link.id = 'download';
            link.textContent = name;
            document.body.append(link);
            return reply.status;";
        let options = json_body(&json!({ "password": PASSWORD }), self.csrf.as_deref());
        let arguments = vec![json!(url), options, json!("export.zip")];
        assert_eq!(self.browser.run(script, arguments).await, 200);
        self.browser.click("#download").await;
        self.browser.downloaded("export.zip").await
    }
}

#[tokio::test]
async fn somebody_signs_up_exports_deletes_cancels_deletes_and_signs_up_again() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let own = page().await;
    let origin = own.origin().ascii_serialization();
    let app = TestApp::with(&[
        ("ALLOWED_ORIGINS", &origin),
        ("TERMS_VERSION", "2026-11-01"),
        ("TERMS_URL", "https://example.com/terms"),
        ("PRIVACY_NOTICE_VERSION", "3"),
        ("PRIVACY_NOTICE_URL", "https://example.com/privacy"),
    ])
    .await;
    let csrf = None;
    let mut tab = Tab { browser, app, csrf };
    tab.browser.open(own.clone()).await;
    tab.sign_up(&own).await;
    assert_eq!(tab.log_in().await["status"], 200);
    let proof = json!({ "password": PASSWORD });

    let asked = tab.send("POST", EXPORT, proof.clone()).await;
    assert_eq!(asked["status"], 202, "{asked}");
    let email = tab.app.email_to(ADA).await;
    assert!(email.text.contains("is ready"), "{}", email.text);
    let id = asked["body"]["id"].as_str().expect("it is an id");
    let bytes = tab.download(id).await;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("it is a ZIP");
    let mut text = String::new();
    let mut users = archive.by_name("data/users.json").expect("it is an entry");
    users
        .read_to_string(&mut text)
        .expect("its checksum is right");
    assert!(text.contains(ADA), "{text}");

    let deleted = tab.send("DELETE", ME, proof.clone()).await;
    assert_eq!(deleted["status"], 200, "{deleted}");
    assert_eq!(tab.get(ME).await["status"], 401);
    let refused = tab.log_in().await;
    assert_eq!(
        refused["body"]["code"], "account_deletion_pending",
        "{refused}"
    );
    let credentials = json!({ "email": ADA, "password": PASSWORD });
    let cancel = "/api/v1/auth/cancel-deletion";
    let canceled = tab.send("POST", cancel, credentials).await;
    assert_eq!(canceled["status"], 204, "{canceled}");
    assert_eq!(tab.log_in().await["status"], 200);

    let deleted = tab.send("DELETE", ME, proof).await;
    assert_eq!(deleted["status"], 200, "{deleted}");
    tab.app.clock.advance(Duration::from_hours(24 * 30));
    tab.app.erase_due().await;
    assert_eq!(tab.log_in().await["body"]["code"], "invalid_credentials");
    let users = tab.app.number("SELECT count(*) FROM users").await;
    assert_eq!(users, 0, "nobody is left");
    tab.sign_up(&own).await;
    assert_eq!(tab.log_in().await["status"], 200);
    assert_eq!(tab.browser.complaints().await, [""; 0]);
    tab.app.run_jobs().await;
    tab.browser.close().await;
}
