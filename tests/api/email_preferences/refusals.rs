//! Requests that do not unsubscribe: invalid tokens and bodies, and GET and HEAD.

use reqwest::Method;
use serde_json::json;

use super::one_click::{BODY, FORM, post, send};
use super::{ADA, unsubscribe_link};
use crate::harness::TestApp;

/// The number of lines in the record of consents, to see that nothing changes.
async fn lines(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM consents")
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted")
}

#[tokio::test]
async fn a_token_that_is_cut_changed_or_of_another_kind_is_like_one_of_nobody() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let path = link.path();
    let (kind, token) = path.rsplit_once('.').expect("it has a kind");
    let other = if token.starts_with('A') { "B" } else { "A" };
    let nobody = format!("/unsubscribe/product_news.{}", "A".repeat(64));
    let others = [
        path[..path.len() - 1].to_owned(),
        path[..path.len() / 2].to_owned(),
        format!("{kind}.{other}{}", &token[1..]),
        format!("{path}A"),
        format!("/unsubscribe/usage_summary.{token}"),
        format!("/unsubscribe/terms.{token}"),
        format!("/unsubscribe/{token}"),
        format!("/unsubscribe/{}", ada.refresh_token()),
        format!("/unsubscribe/{}", "x".repeat(4_000)),
    ];
    let expected = {
        let mut body = post(&app, &nobody).await.body;
        body["request_id"].take();
        body
    };
    assert_eq!(expected["code"], "not_found");
    let before = lines(&app).await;
    for path in &others {
        for method in [Method::POST, Method::GET] {
            let mut answer = if method == Method::POST {
                post(&app, path).await
            } else {
                app.get(path).await
            };
            answer.assert_problem(404, "not_found");
            answer.body["request_id"].take();
            assert_eq!(answer.body, expected, "{method} {path}");
        }
    }
    let not_text = post(&app, "/unsubscribe/%ff").await;
    not_text.assert_problem(400, "bad_request");
    assert_eq!(lines(&app).await, before);
    assert!(ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn a_body_that_is_not_the_form_is_a_bad_request_whosever_the_link_is() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let nobody = format!("/unsubscribe/product_news.{}", "A".repeat(64));
    let large = [BODY.as_bytes(), &vec![b'x'; 1024 * 1024]].concat();
    let multipart = "multipart/form-data; boundary=x";
    let other_part =
        "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let bodies: [(&str, &[u8]); 12] = [
        (FORM, b""),
        ("", b""),
        ("application/json", b"{\"List-Unsubscribe\":\"One-Click\"}"),
        ("application/json", BODY.as_bytes()),
        ("text/plain", BODY.as_bytes()),
        (FORM, b"{\"List-Unsubscribe\":\"One-Click\"}"),
        (FORM, b"List-Unsubscribe=Yes"),
        (FORM, b"\xff\xfe\0"),
        (FORM, &large),
        (multipart, &large),
        (multipart, other_part.as_bytes()),
        ("multipart/form-data", other_part.as_bytes()),
    ];
    let before = lines(&app).await;
    for (kind, body) in bodies {
        for path in [link.path(), &nobody] {
            let answer = send(&app, path, kind, body.to_vec()).await;
            let what = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(answer.status, 400, "{kind} {what}: {}", answer.body);
            assert_eq!(answer.body["code"], "bad_request", "{kind} {what}");
        }
    }
    assert_eq!(lines(&app).await, before);
    assert!(ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn get_and_head_show_a_button_that_needs_no_script_and_change_nothing() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let before = lines(&app).await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let call = app.replica.call(method.clone(), link.path(), None, None);
        let answer = call.await;
        answer.assert_status(200);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert!(!answer.headers.contains_key("set-cookie"));
        let policy = answer.headers["content-security-policy"].to_str();
        let policy = policy.expect("it is text");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            policy.contains("form-action 'self'") && !policy.contains("script"),
            "{policy}"
        );
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        if method == Method::GET {
            assert!(text.contains("of this kind: product news"), "{text}");
            assert!(text.contains(r#"<form method="post">"#), "{text}");
            let field = r#"name="List-Unsubscribe" value="One-Click""#;
            assert!(text.contains(field) && !text.contains("<script"), "{text}");
            assert!(!text.contains("example.com"), "no address: {text}");
        } else {
            assert_eq!(text, "");
        }
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = app.replica.call(method, link.path(), None, None).await;
        answer.assert_problem(405, "method_not_allowed");
    }
    assert_eq!(lines(&app).await, before);
    assert!(ada.has_asked_for("product_news").await);
}

#[tokio::test]
async fn a_token_signs_nobody_in() {
    let app = TestApp::new().await;
    app.subscriber("ada").await;
    let link = unsubscribe_link(&*app.news_to(ADA).await);
    let token = link.path_segments().and_then(Iterator::last).expect("one");
    let me = app
        .replica
        .call(Method::GET, "/api/v1/users/me", Some(token), None);
    me.await.assert_status(401);
    for (path, name) in [
        ("auth/verify-email", "token"),
        ("auth/refresh", "refresh_token"),
    ] {
        let answer = app
            .post(&format!("/api/v1/{path}"), json!({ name: token }))
            .await;
        assert!(
            matches!(answer.status.as_u16(), 401 | 422),
            "{}",
            answer.body
        );
    }
}
