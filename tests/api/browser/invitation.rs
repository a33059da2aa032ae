//! The page of an invitation in a real browser, below a base path: somebody without an account signs up on it, comes
//! back over the link that verifies the address, accepts, and reads the organisation's data until they are removed.

use groundwork_dev::ports;
use reqwest::Method;
use serde_json::{Value, json};

use super::chromium::Browser;
use crate::harness::{PASSWORD, Session, TestApp};

const GRACE: &str = "grace@example.com";

/// The service below a base path, at the address that its links and cookies have.
async fn start() -> TestApp {
    let address = format!("127.0.0.1:{}", ports::any().expect("a port is free").port);
    let public = format!("http://{address}/base");
    TestApp::with(&[("BIND_ADDR", &address), ("PUBLIC_URL", &public)]).await
}

async fn organisation(app: &TestApp) -> Session {
    let ada = app.sign_in("ada").await;
    let new = json!({ "name": "Acme", "slug": "acme" });
    let answer = ada.post("/api/v1/organisations", new).await;
    answer.assert_status(201);
    ada
}

async fn invite(app: &TestApp, owner: &Session, email: &str) -> url::Url {
    let new = json!({ "email": email, "role": "member" });
    let path = "/api/v1/organisations/acme/invitations";
    owner.post(path, new).await.assert_status(201);
    link_to(app, email).await
}

async fn link_to(app: &TestApp, email: &str) -> url::Url {
    let message = app.email_to(email).await;
    message.links().into_iter().next().expect("it has a link")
}

/// Calls the API from the page for the organisation: status and body.
async fn read(browser: &Browser, path: &str) -> Value {
    let script = "const reply = await fetch(given[0], { headers: { 'X-Account': 'acme' } });
        return { status: reply.status, body: await reply.json() };";
    browser
        .run(script, vec![json!(format!("api/v1/{path}"))])
        .await
}

async fn stored(browser: &Browser) -> Value {
    let script = "return localStorage.getItem('invitation');";
    browser.run(script, vec![]).await
}

#[tokio::test]
async fn an_invited_person_signs_up_accepts_and_is_removed() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let app = start().await;
    let ada = organisation(&app).await;
    let invitation = invite(&app, &ada, GRACE).await;
    assert_eq!(invitation.path(), "/base/invitation");

    browser.open(invitation).await;
    browser
        .read("#message", |text| text.contains("Sign in or sign up"))
        .await;
    assert_eq!(browser.read("#title", |_| true).await, "Join Acme");
    let about = browser.read("#about", |text| !text.is_empty()).await;
    assert!(
        about.contains("ada@example.com invites grace@example.com as member"),
        "{about}"
    );
    let address = browser.address().await;
    assert_eq!((address.query(), address.fragment()), (None, None));
    browser.click("#sign-up summary").await;
    browser.type_into("#first-name", "Grace").await;
    browser.type_into("#new-password", PASSWORD).await;
    browser.picture("invitation-sign-up").await;
    browser.click("#sign-up button").await;
    browser
        .read("#message", |text| text.contains("We sent an email"))
        .await;

    browser.open(link_to(&app, GRACE).await).await;
    browser.click("#confirm").await;
    browser
        .read("#message", |text| text.contains("is confirmed"))
        .await;
    browser.picture("invitation-verified").await;
    browser.click("#return a").await;
    browser
        .read("#message", |text| text.contains("Sign in or sign up"))
        .await;
    browser.type_into("#password", "not the password").await;
    browser.click("#sign-in button").await;
    browser
        .read("#message", |text| text.contains("is wrong"))
        .await;
    browser
        .run("document.getElementById('password').value = '';", vec![])
        .await;
    browser.type_into("#password", PASSWORD).await;
    browser.click("#sign-in button").await;
    browser
        .read("#message", |text| text.contains("signed in as grace"))
        .await;
    browser.picture("invitation-accept").await;
    browser.click("#accept").await;
    let done = browser
        .read("#message", |text| text.contains("You are a member of Acme"))
        .await;
    assert!(done.contains("X-Account"), "{done}");
    browser.picture("invitation-accepted").await;
    assert_eq!(stored(&browser).await, Value::Null, "the token is used");

    let usage = read(&browser, "usage/current").await;
    assert_eq!(usage["status"], 200, "{usage}");
    let members = read(&browser, "organisations/acme/members").await;
    let items = members["body"]["items"].as_array().expect("a list");
    let grace = items.iter().find(|member| member["email"] == GRACE);
    let grace = grace.and_then(|member| member["user_id"].as_str());
    let grace = grace.expect("she is listed");
    let path = format!("/api/v1/organisations/acme/members/{grace}");
    let call = app
        .replica
        .call(Method::DELETE, &path, Some(ada.access()), None);
    call.await.assert_status(204);
    for path in ["usage/current", "organisations/acme/members"] {
        let refused = read(&browser, path).await;
        assert_eq!(refused["status"], 404, "{path}: {refused}");
    }
    let me = browser
        .run("return (await fetch('api/v1/users/me')).status;", vec![])
        .await;
    assert_eq!(me, 200, "the user stays signed in");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
    app.run_jobs().await;
}

#[tokio::test]
async fn the_page_signs_out_another_user_and_declines() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let app = start().await;
    let ada = organisation(&app).await;
    app.sign_up("grace").await;
    let first = invite(&app, &ada, GRACE).await;
    browser.open(first.clone()).await;
    browser.type_into("#password", PASSWORD).await;
    browser.click("#sign-in button").await;
    browser
        .read("#message", |text| text.contains("signed in as grace"))
        .await;

    // The same browser, with an invitation to another address.
    browser
        .open(invite(&app, &ada, "joan@example.com").await)
        .await;
    browser
        .read("#message", |text| text.contains("Sign out first"))
        .await;
    assert!(
        !browser
            .see("#accept")
            .await
            .is_displayed()
            .await
            .expect("it is there")
    );
    browser.picture("invitation-other-user").await;
    browser.click("#sign-out").await;
    browser
        .read("#message", |text| text.contains("Sign in or sign up"))
        .await;
    browser.click("#decline").await;
    browser
        .read("#message", |text| text.contains("You declined"))
        .await;
    assert_eq!(stored(&browser).await, Value::Null);

    // One that is no longer valid says so, and offers nothing.
    invite(&app, &ada, GRACE).await;
    browser.open(first).await;
    browser
        .read("#message", |text| text.contains("was used before"))
        .await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
    app.run_jobs().await;
}
