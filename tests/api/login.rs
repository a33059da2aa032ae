//! Signing in.

use serde_json::json;

use crate::harness::{PASSWORD, TestApp};

const LOGIN: &str = "/api/v1/auth/login";

#[tokio::test]
async fn the_right_password_begins_a_session() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let answer = app
        .post(
            LOGIN,
            json!({ "email": ada.to_uppercase(), "password": PASSWORD }),
        )
        .await;
    answer.assert_status(200);
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.body["refresh_expires_in"], 14 * 24 * 60 * 60);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(app.audited("signed_in").await, 1);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.register("bob@example.com").await; // never verified
    app.run_jobs().await;
    let mut seen = Vec::new();
    for email in [ada.as_str(), "nobody@example.com", "bob@example.com"] {
        let answer = app
            .post(
                LOGIN,
                json!({ "email": email, "password": "wrong-wrong-wrong" }),
            )
            .await;
        answer.assert_problem(401, "invalid_credentials");
        let mut body = answer.body.clone();
        body["request_id"].take();
        let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        seen.push((body, names));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert_eq!(app.audited("sign_in_failed").await, 3);
}

#[tokio::test]
async fn a_password_is_taken_as_it_was_typed_in_each_of_its_characters() {
    let app = TestApp::new().await;
    let chosen = format!(" Ça{} Zürich\u{301}\u{1f40e} ", "x".repeat(115));
    assert_eq!(chosen.chars().count(), 128, "as long as they may be");
    let email = "ada@example.com";
    let account = json!({ "email": email, "password": chosen });
    app.post("/api/v1/auth/register", account)
        .await
        .assert_status(202);
    let token = app.email_to(email).await.token();
    app.post("/api/v1/auth/verify-email", json!({ "token": token }))
        .await
        .assert_status(204);
    for other in [
        chosen.trim().to_owned(),
        chosen.to_lowercase(),
        chosen.to_uppercase(),
        chosen.replacen("Ça", "C\u{327}a", 1).replacen("xx", "x", 1),
        chosen.chars().take(127).collect(),
        chosen.chars().take(64).collect(),
        chosen.replacen('x', "y", 1),
    ] {
        let body = json!({ "email": email, "password": other });
        app.post(LOGIN, body)
            .await
            .assert_problem(401, "invalid_credentials");
    }
    let body = json!({ "email": email, "password": chosen });
    app.post(LOGIN, body).await.assert_status(200);
}

#[tokio::test]
async fn bad_input_names_the_field() {
    let app = TestApp::new().await;
    app.post(LOGIN, json!({ "password": PASSWORD }))
        .await
        .assert_field("email");
    app.post(LOGIN, json!({ "email": "a@example.com" }))
        .await
        .assert_field("password");
    app.post(LOGIN, json!({ "email": "a@example.com", "password": "" }))
        .await
        .assert_field("password");
    app.post(
        LOGIN,
        json!({ "email": "a@example.com", "password": "x".repeat(600) }),
    )
    .await
    .assert_field("password");
    app.post(
        LOGIN,
        json!({ "email": "a@example.com", "password": PASSWORD, "remember": true }),
    )
    .await
    .assert_field("remember");
    let large = app
        .post(
            LOGIN,
            json!({ "email": "a@example.com", "password": "x".repeat(1 << 20) }),
        )
        .await;
    large.assert_problem(413, "payload_too_large");
}

#[tokio::test]
async fn a_hash_of_other_cost_is_renewed_at_sign_in() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let hash = || async {
        sqlx::query_scalar::<_, String>("SELECT password_hash FROM users")
            .fetch_one(&app.owner_db)
            .await
            .expect("the account is there")
    };
    let old = hash().await;
    app.log_in(&ada).await;
    assert_eq!(hash().await, old, "nothing is renewed without need");

    let dearer = app
        .another_replica_with(&[("PASSWORD_ITERATIONS", "2")])
        .await;
    let sign_in = json!({ "email": ada, "password": PASSWORD });
    dearer
        .call(reqwest::Method::POST, LOGIN, None, Some(sign_in))
        .await
        .assert_status(200);
    assert!(
        hash().await.starts_with("$argon2id$v=19$m=8192,t=2,p=1$"),
        "{}",
        hash().await
    );
    app.log_in(&ada).await;
}

#[tokio::test]
async fn a_flood_of_sign_ins_is_shed_and_other_routes_go_on() {
    let app = TestApp::with(&[
        ("PASSWORD_THREADS", "1"),
        ("PASSWORD_QUEUE_TIMEOUT", "400ms"),
        ("PASSWORD_ITERATIONS", "8"),
    ])
    .await;
    let ada = app.sign_in("ada").await;
    let flood = (0..200).map(|_| {
        app.post(
            LOGIN,
            json!({ "email": "nobody@example.com", "password": "wrong-wrong" }),
        )
    });
    let beside = async {
        for _ in 0..20 {
            ada.get("/api/v1/users/me").await.assert_status(200);
        }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(flood), beside);
    let shed = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .collect::<Vec<_>>();
    assert!(!shed.is_empty(), "nothing was shed");
    assert!(
        answers.iter().any(|answer| answer.status == 401),
        "nothing was served"
    );
    shed[0].assert_problem(503, "busy");
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 401 | 503))
    );
}

#[tokio::test]
async fn people_who_are_refused_get_times_that_are_spread() {
    let app = TestApp::with(&[
        ("PASSWORD_THREADS", "1"),
        ("PASSWORD_QUEUE_TIMEOUT", "200ms"),
        ("PASSWORD_ITERATIONS", "20"),
    ])
    .await;
    let all = (0..150).map(|number| {
        let email = format!("nobody-{number}@example.com");
        app.post(LOGIN, json!({ "email": email, "password": "wrong-wrong" }))
    });
    let answers = futures_util::future::join_all(all).await;
    let mut times: Vec<u64> = Vec::new();
    for refused in answers.iter().filter(|it| it.status != 401) {
        refused.assert_problem(503, "busy");
        let seconds = refused.headers["retry-after"].to_str().expect("it is text");
        times.push(seconds.parse().expect("it is a number"));
    }
    times.sort_unstable();
    let (first, last) = (times.first(), times.last());
    let (first, last) = first.zip(last).expect("somebody is refused");
    // A hash takes 20 ms at least: 100 are 2.5 s, of the share of the pool that is given out.
    assert!(times.len() >= 100, "{} were refused", times.len());
    assert!(*first >= 2 && *last >= first + 2, "{times:?}");
}

#[tokio::test]
async fn a_database_that_is_gone_never_reads_as_a_wrong_password() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.state.db.close().await;
    let answer = app
        .post(LOGIN, json!({ "email": ada, "password": PASSWORD }))
        .await;
    answer.assert_problem(503, "unavailable");
}
