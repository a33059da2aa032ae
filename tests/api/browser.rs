//! The pages for people, in a real browser: somebody signs up on the docs page, follows the email,
//! signs in and sees the account, with nothing but the examples that the page shows.

mod billing;
mod chromium;
mod emails;
mod files;
mod invitation;
mod privacy;
mod session;
mod start_page;

use serde_json::{Value, json};
use url::Url;

use self::chromium::Browser;
use crate::harness::{Replica, TestApp};

/// Who the examples in the document are about.
const ADA: &str = "ada@example.com";

#[tokio::test]
async fn a_newcomer_signs_up_and_in_on_the_docs_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let app = TestApp::new().await;

    browser.open(app.replica.root.join("/docs").unwrap()).await;
    browser.see(".opblock").await;
    browser.picture("docs-page").await;
    assert_eq!(execute(&browser, "auth-register").await.0, "202");

    let link = link_to(&app).await;
    browser.open(link.clone()).await;
    browser.see("#confirm").await;
    let address = browser.address().await;
    assert_eq!(
        (address.query(), address.fragment()),
        (None, None),
        "the token has left the address bar"
    );
    browser.click("#confirm").await;
    browser
        .read("#message", |text| text.contains("is confirmed"))
        .await;

    // A link of an earlier release has the token in its query.
    let mut earlier = link.clone();
    earlier.set_query(link.fragment());
    earlier.set_fragment(None);
    for used in [link, earlier] {
        browser.open(used).await;
        browser
            .read("#message", |text| text.contains("Press the button"))
            .await;
        let address = browser.address().await;
        assert_eq!((address.query(), address.fragment()), (None, None));
        browser.click("#confirm").await;
        browser
            .read("#message", |text| text.contains("was used before"))
            .await;
    }

    browser.open(app.replica.root.join("/docs").unwrap()).await;
    let (status, tokens) = execute(&browser, "auth-login").await;
    assert_eq!(status, "200", "{tokens}");
    let access = tokens["access_token"]
        .as_str()
        .expect("the reply shows a token");

    assert_eq!(execute(&browser, "users-get_me").await.0, "401");
    browser.click(".auth-wrapper .authorize").await;
    browser.type_into("#auth-bearer-value", access).await;
    browser.click(".modal-ux .authorize").await;
    browser.click(".modal-ux .btn-done").await;
    let (status, account) = execute(&browser, "users-get_me").await;
    assert_eq!(
        (status.as_str(), &account["email"]),
        ("200", &Value::from(ADA))
    );

    assert_eq!(browser.complaints().await, [""; 0]);
    assert_only_us(&browser.requests().await, &app.replica);
    browser.close().await;
}

#[tokio::test]
async fn the_page_asks_for_the_password_where_several_sign_ups_wait() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let app = TestApp::new().await;
    for password in ["the password of the owner", "what a stranger has typed"] {
        let body = json!({ "email": ADA, "password": password });
        let answer = app.post("/api/v1/auth/register", body).await;
        answer.assert_status(202);
    }
    browser.open(link_to(&app).await).await;
    browser.click("#confirm").await;
    let asked = |text: &str| text.contains("Somebody else signed up");
    browser.read("#message", asked).await;
    browser
        .type_into("#password", "the password of the owner")
        .await;
    browser.click("#confirm").await;
    browser
        .read("#message", |text| text.contains("is confirmed"))
        .await;
    let body = json!({ "email": ADA, "password": "the password of the owner" });
    let answer = app.post("/api/v1/auth/login", body).await;
    answer.assert_status(200);
    browser.close().await;
}

#[tokio::test]
async fn no_page_allows_inline_scripts_or_other_hosts() {
    let app = TestApp::new().await;
    for path in [
        "/",
        "/docs/",
        "/verify-email",
        "/undo-email-change",
        "/invitation",
        "/email-preferences",
    ] {
        let answer = app.get(path).await;
        answer.assert_status(200);
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        let rules: Vec<_> = policy.split(';').map(str::trim).collect();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(rules.contains(&rule), "{path}: {policy}");
        }
        assert!(
            !policy.contains("http") && !policy.contains("unsafe-eval"),
            "{path}: {policy}"
        );
    }
}

/// The link in the newest email to [`ADA`], at the port that this service happens to have.
async fn link_to(app: &TestApp) -> Url {
    let message = app.email_to(ADA).await;
    let mut link = message
        .links()
        .into_iter()
        .next()
        .expect("the message has a link");
    link.set_port(app.replica.root.port())
        .expect("it is a web address");
    link
}

/// Opens an operation of the docs page, presses "Execute" and answers the status and the body that
/// the page then shows.
async fn execute(browser: &Browser, operation: &str) -> (String, Value) {
    let block = format!("#operations-{operation}");
    let execute = format!("{block} .execute");
    if !browser.has(&execute).await {
        browser
            .click(&format!("{block} .opblock-summary-control"))
            .await;
    }
    if browser.has(&format!("{block} .btn-clear")).await {
        browser.click(&format!("{block} .btn-clear")).await;
    }
    browser.click(&execute).await;
    let reply = format!("{block} .live-responses-table tbody");
    let status = format!("{reply} .response-col_status");
    let status = browser.read(&status, |text| !text.is_empty()).await;
    let status = status.lines().next().unwrap_or_default().to_owned();
    let body = format!("{reply} code");
    let body = if browser.has(&body).await {
        browser.read(&body, |_| true).await
    } else {
        String::new()
    };
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// Holds that the browser talked to this service and to nobody else.
fn assert_only_us(requests: &[Url], us: &Replica) {
    let strangers = requests
        .iter()
        .filter(|url| url.origin() != us.root.origin());
    assert_eq!(strangers.collect::<Vec<_>>(), [&us.root; 0]);
    assert!(
        requests.iter().any(|url| url.path() == "/api/v1/users/me"),
        "{requests:?}"
    );
}
