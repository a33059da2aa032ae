//! Unsubscribing with one click, as mail clients do (RFC 8058), and by the button of the page.

use futures_util::future::join_all;
use groundwork::consents::OptionalKind;
use groundwork::email_preferences::Outcome;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ADA, unsubscribe_link};
use crate::harness::{Answer, TestApp};
use crate::process::{Server, with};

pub const BODY: &str = "List-Unsubscribe=One-Click";
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Posts the form of a mail client.
pub async fn post(app: &TestApp, path: &str) -> Answer {
    send(app, path, FORM, BODY.as_bytes().to_vec()).await
}

pub async fn send(app: &TestApp, path: &str, kind: &str, body: Vec<u8>) -> Answer {
    let request = app.replica.request(Method::POST, path);
    let request = request.header("content-type", kind).body(body);
    app.replica.send(&Method::POST, path, request).await
}

/// Sends the request that Gmail sends; returns the whole reply.
async fn click_at(address: &str, path: &str) -> String {
    let length = BODY.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Google-Mail-Unsubscribe\r\nAccept: */*\r\n\
         Content-Type: {FORM}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{BODY}"
    );
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let sent = socket.write_all(request.as_bytes());
    sent.await.expect("it is sent");
    let mut reply = String::new();
    let read = socket.read_to_string(&mut reply);
    read.await.expect("it is answered");
    reply
}

#[tokio::test]
async fn one_post_without_cookie_or_session_unsubscribes_from_this_kind_alone() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let others = OptionalKind::ALL.iter().map(|kind| kind.as_str());
    let others: Vec<_> = others.filter(|kind| *kind != "product_news").collect();
    let choice = others.iter().map(|kind| ((*kind).to_owned(), json!(true)));
    ada.choose(choice.collect()).await.assert_status(200);
    app.run_jobs().await;
    app.inbox.clear();

    let reply = click_at(app.replica.root.authority(), link.path()).await;
    let (head, body) = reply.split_once("\r\n\r\n").expect("it has a head");
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{reply}");
    for name in ["set-cookie", "location", "refresh"] {
        assert!(!head.contains(&format!("\r\n{name}:")), "{reply}");
    }
    assert!(body.contains("You are unsubscribed"), "{reply}");

    assert!(!ada.has_asked_for("product_news").await);
    for kind in &others {
        assert!(ada.has_asked_for(kind).await, "{kind} stays");
    }
    assert_eq!(app.send_news(ADA).await, Outcome::NotAsked);
    assert!(app.inbox.messages().is_empty());
    let changes = app.audited("consent_changed").await;
    assert_eq!(usize::try_from(changes), Ok(2 + others.len()));
    let (source, ip): (String, Option<String>) =
        sqlx::query_as("SELECT source, host(ip) FROM consents ORDER BY id DESC LIMIT 1")
            .fetch_one(&app.owner_db)
            .await
            .expect("it is recorded");
    assert_eq!(
        (source.as_str(), ip.as_deref()),
        ("unsubscribe", Some("127.0.0.1"))
    );
}

#[tokio::test]
async fn twice_and_twenty_times_at_once_is_as_once() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let posts = (0..20).map(|_| post(&app, link.path()));
    for answer in join_all(posts).await {
        answer.assert_status(200);
    }
    post(&app, link.path()).await.assert_status(200);
    assert!(!ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn a_user_who_asks_again_is_subscribed_again_and_the_same_link_ends_it() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    post(&app, link.path()).await.assert_status(200);
    let again = ada.choose(json!({ "product_news": true })).await;
    again.assert_status(200);
    app.news_to(ADA).await;
    // A year later, since a link does not expire.
    app.clock.advance(std::time::Duration::from_hours(24 * 366));
    post(&app, link.path()).await.assert_status(200);
    let ada = app.log_in(ADA).await;
    assert!(!ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn the_form_may_come_as_multipart_and_without_a_type() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let part = "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let kinds = [
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data; boundary=\"x\"",
    ];
    for kind in kinds {
        let answer = send(&app, link.path(), kind, part.as_bytes().to_vec()).await;
        answer.assert_status(200);
        assert!(!ada.has_asked_for("product_news").await);
        ada.choose(json!({ "product_news": true })).await;
    }
    let request = app.replica.request(Method::POST, link.path()).body(BODY);
    let answer = app.replica.send(&Method::POST, link.path(), request).await;
    answer.assert_status(200);
    assert!(!ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn a_link_outlives_the_rotation_of_its_key_until_that_is_dropped() {
    let app = TestApp::new().await;
    app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let (old, new) = (
        "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8",
        "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8",
    );
    let both = format!("{new},{old}");
    for (ring, status) in [(both.as_str(), 200), (new, 404)] {
        let replica = app.another_replica_with(&[("TOKEN_SECRET", ring)]).await;
        let request = replica.request(Method::GET, link.path());
        let answer = replica.send(&Method::GET, link.path(), request).await;
        answer.assert_status(status);
    }
}

#[tokio::test]
async fn no_token_of_a_link_is_in_the_log_at_any_level() {
    let app = TestApp::new().await;
    app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let token = link.path_segments().and_then(Iterator::last);
    let token = token.and_then(|it| it.split_once('.')).expect("a token").1;
    let settings = with(&app.settings, &[("LOG_LEVEL", "debug")]);
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let reply = click_at(&server.address(), link.path()).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    server.call(Method::GET, link.path(), None, None).await;
    let wrong = format!("{}x", link.path());
    server.call(Method::GET, &wrong, None, None).await;
    let logged = server
        .wait_for_line(|line| line["target"] == "access" && line["status"] == 404)
        .await;
    assert_eq!(logged["route"], "/unsubscribe/{token}");
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));
    let written = server.written();
    assert!(!written.contains(token), "{written}");
}
