//! Email preferences in a real browser, below a base path: a user signs in on the page and chooses, and ends an email by the
//! button of its link.

use groundwork_dev::ports;

use super::chromium::Browser;
use crate::email_preferences::{ADA, unsubscribe_link};
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn a_user_chooses_on_the_page_and_unsubscribes_by_the_link() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let address = format!("127.0.0.1:{}", ports::any().expect("a port is free").port);
    let public = format!("http://{address}/base");
    let app = TestApp::with(&[("BIND_ADDR", &address), ("PUBLIC_URL", &public)]).await;
    app.register(ADA).await;
    let message = app.email_to(ADA).await;
    let token = message.token().expect("it has a link");
    let proof = serde_json::json!({ "token": token });
    let verified = app.post("/base/api/v1/auth/verify-email", proof).await;
    verified.assert_status(204);
    let mut links = message.links().into_iter();
    let preferences = links.find(|it| it.path() == "/base/email-preferences");

    browser.open(preferences.expect("it is there")).await;
    browser
        .read("#message", |text| text.contains("Sign in to choose"))
        .await;
    browser.type_into("#email", ADA).await;
    browser.type_into("#password", PASSWORD).await;
    browser.click("#sign-in button").await;
    browser
        .read("#message", |text| text.contains("Choose the emails"))
        .await;
    let kinds = browser.read("#kinds", |text| !text.is_empty()).await;
    assert_eq!(kinds.lines().next(), Some("Product news"), "{kinds}");
    browser.click("#kinds input[name=product_news]").await;
    browser.click("#preferences button").await;
    browser
        .read("#message", |text| text.contains("is saved"))
        .await;
    browser.picture("email-preferences").await;

    let link = unsubscribe_link(&*app.news_to(ADA).await);
    browser.open(link).await;
    browser.picture("unsubscribe").await;
    browser.click("#confirm").await;
    browser
        .read("#message", |text| {
            text.contains("of this kind: product news")
        })
        .await;
    browser.click("main a").await;
    browser
        .read("#message", |text| text.contains("Choose the emails"))
        .await;
    assert!(!browser.has("#kinds input:checked").await);
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}
