//! Wrong passwords: how many anybody gets, who waits for it, and how an owner gets in meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use groundwork_dev::Redis;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Replica, TestApp};

const LOGIN: &str = "/api/v1/auth/login";
const UNLOCK: &str = "/api/v1/auth/unlock";
const FORGOT: &str = "/api/v1/auth/forgot-password";
const RESET: &str = "/api/v1/auth/reset-password";
const MY_PASSWORD: &str = "/api/v1/users/me/password";
const WRONG: &str = "wrong-wrong-wrong";
const LOCKED_SUBJECT: &str = "Somebody tried to sign in to your account at Groundwork";

/// The limits of production, and clients that tell by a header who they are.
const SETTINGS: [(&str, &str); 3] = [
    ("LIMIT_FAILURES_CLIENT", "5/15m"),
    ("LIMIT_FAILURES_ACCOUNT", "5/15m"),
    ("TRUSTED_PROXIES", "127.0.0.0/8"),
];

const HOME: &str = "203.0.113.7";

async fn start() -> TestApp {
    TestApp::with(&SETTINGS).await
}

/// The same with a Redis of its own, since the clock of each test stands at the same time.
async fn start_with(redis: &Redis) -> TestApp {
    let url = redis.url();
    TestApp::with(&[&SETTINGS[..], &[("REDIS_URL", url.as_str())]].concat()).await
}

async fn private_redis() -> Redis {
    Redis::throw_away().await.expect("a Redis starts")
}

/// A post by a client with this address.
async fn post_from(replica: &Replica, client: &str, path: &str, body: Value) -> Answer {
    let request = replica
        .request(Method::POST, path)
        .header("x-forwarded-for", client)
        .json(&body);
    replica.send(&Method::POST, path, request).await
}

async fn try_from(replica: &Replica, client: &str, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    post_from(replica, client, LOGIN, body).await
}

impl TestApp {
    async fn try_from(&self, client: &str, email: &str, password: &str) -> Answer {
        try_from(&self.replica, client, email, password).await
    }

    /// Five strangers give a wrong password each, which is what an account gets.
    pub async fn hammer(&self, email: &str) {
        for stranger in 1..=5 {
            let client = format!("198.51.100.{stranger}");
            self.try_from(&client, email, WRONG)
                .await
                .assert_problem(401, "invalid_credentials");
        }
    }

    /// The token of the newest email to this address, which is about a locked account.
    pub async fn unlock_token(&self, email: &str) -> String {
        let message = self.email_to(email).await;
        assert_eq!(message.subject, LOCKED_SUBJECT);
        message.token().expect("the message has a link")
    }

    fn emails_about_locks(&self, email: &str) -> usize {
        let messages = self.inbox.emails_to(email);
        messages
            .iter()
            .filter(|message| message.subject == LOCKED_SUBJECT)
            .count()
    }
}

#[track_caller]
fn assert_waits(answer: &Answer, seconds: u64) {
    answer.assert_problem(429, "too_many_attempts");
    assert_eq!(answer.headers["retry-after"], seconds.to_string());
}

/// What a client sees of an answer, but for the ids and the times.
fn seen(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.body.clone();
    body["request_id"].take();
    let names = answer.headers.keys().map(ToString::to_string).collect();
    (answer.status.as_u16(), body, names)
}

#[tokio::test]
async fn the_sixth_wrong_password_is_refused_for_any_account() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let mut looks = Vec::new();
    for (email, client) in [(ada.as_str(), HOME), ("nobody@example.com", "203.0.113.8")] {
        let mut look = Vec::new();
        for _ in 0..5 {
            look.push(seen(&app.try_from(client, email, WRONG).await));
        }
        let refused = app.try_from(client, email, WRONG).await;
        assert_waits(&refused, 900);
        look.push(seen(&refused));
        looks.push(look);
    }
    assert_eq!(looks[0], looks[1]);
    assert_eq!(looks[0][4].0, 401);
    app.run_jobs().await;
    assert_eq!(
        app.audited("sign_in_failed").await,
        10,
        "the sixth is no attempt"
    );
    assert_eq!(
        app.audited("sign_in_locked").await,
        4,
        "two clients, two accounts"
    );
}

#[tokio::test]
async fn what_is_refused_is_not_hashed() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    app.run_jobs().await;
    sqlx::query("UPDATE users SET password_hash = 'no hash at all'")
        .execute(&app.owner_db)
        .await
        .expect("the account is there");
    let refused = app.try_from(HOME, &ada, PASSWORD).await;
    assert_waits(&refused, 900);
}

#[tokio::test]
async fn the_wait_grows_up_to_an_hour_and_is_short_again_after_a_day() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    for seconds in [900, 1_800, 3_600, 3_600] {
        app.hammer(&ada).await;
        let refused = app.try_from(HOME, &ada, PASSWORD).await;
        assert_waits(&refused, seconds);
        app.clock.advance(Duration::from_secs(seconds - 1));
        assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 1);
        app.clock.advance(Duration::from_secs(1));
    }
    app.clock.advance(Duration::from_hours(24));
    app.hammer(&ada).await;
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_sign_in_that_succeeds_spends_nothing_and_clears_what_was_spent() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        for _ in 0..4 {
            app.try_from(client, &ada, WRONG).await.assert_status(401);
        }
        app.try_from(client, &ada, PASSWORD)
            .await
            .assert_status(200);
    }
    for _ in 0..30 {
        app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);
    }
    assert_eq!(app.audited("sign_in_locked").await, 0);
}

#[tokio::test]
async fn a_client_that_fails_everywhere_waits_and_others_do_not() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let grace = app.sign_up("grace").await;
    for number in 0..5 {
        let email = format!("nobody{number}@example.com");
        app.try_from(HOME, &email, WRONG).await.assert_status(401);
    }
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    app.try_from("203.0.113.8", &ada, PASSWORD)
        .await
        .assert_status(200);
    // An IPv6 customer is one client, however many addresses it has.
    for number in 1..=5 {
        let client = format!("2001:db8:1:2::{number}");
        app.try_from(&client, &format!("nobody{number}@example.com"), WRONG)
            .await
            .assert_status(401);
    }
    assert_waits(
        &app.try_from("2001:db8:1:2:ffff::9", &grace, PASSWORD).await,
        900,
    );
    app.try_from("2001:db8:1:3::1", &grace, PASSWORD)
        .await
        .assert_status(200);
    app.run_jobs().await;
    assert_eq!(app.emails_about_locks(&ada), 0, "it was not about accounts");
}

#[tokio::test]
async fn strangers_do_not_lock_out_a_client_that_has_signed_in() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);
    app.clock.advance(Duration::from_hours(24 * 29));
    app.hammer(&ada).await;
    assert_waits(&app.try_from("203.0.113.99", &ada, PASSWORD).await, 900);
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);

    // Nor does what somebody beside the owner does to other accounts from the same address.
    for number in 0..5 {
        let email = format!("nobody{number}@example.com");
        app.try_from(HOME, &email, WRONG).await.assert_status(401);
    }
    assert_waits(&app.try_from(HOME, "grace@example.com", WRONG).await, 900);
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);

    // Its own failures are its own.
    for _ in 0..5 {
        app.try_from(HOME, &ada, WRONG).await.assert_status(401);
    }
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_client_is_known_for_thirty_days_and_not_after_it_was_turned_out() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let intruder = "198.51.100.77";
    let answer = app.try_from(intruder, &ada, PASSWORD).await;
    answer.assert_status(200);
    sqlx::query("UPDATE sessions SET ended_at = created_at, end_reason = 'ended_remotely'")
        .execute(&app.owner_db)
        .await
        .expect("the session is there");
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);
    app.hammer(&ada).await;
    assert_waits(&app.try_from(intruder, &ada, PASSWORD).await, 900);
    app.clock.advance(Duration::from_hours(24 * 31));
    app.hammer(&ada).await;
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_email_lets_the_owner_in_from_where_it_is_opened() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    for _ in 0..5 {
        // The owner has tried as well, elsewhere.
        app.try_from(HOME, "ada@example.org", WRONG).await;
    }
    let token = app.unlock_token(&ada).await;
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    let proof = json!({ "token": token });
    post_from(&app.replica, HOME, UNLOCK, proof.clone())
        .await
        .assert_status(204);
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);
    post_from(&app.replica, HOME, UNLOCK, proof)
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(app.audited("sign_in_unlocked").await, 1);

    // It is good for this account alone, and what strangers do next does not undo it.
    assert_waits(&app.try_from(HOME, "grace@example.com", WRONG).await, 900);
    app.hammer(&ada).await;
    app.try_from(HOME, &ada, PASSWORD).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_link_that_unlocks_is_followed_even_by_somebody_who_was_never_signed_in() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    let token = app.unlock_token(&ada).await;
    post_from(&app.replica, HOME, UNLOCK, json!({ "token": token }))
        .await
        .assert_status(204);
    // The account itself is clear, for any client that has not failed.
    app.try_from("203.0.113.50", &ada, PASSWORD)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn emails_about_locks_come_once_an_hour_and_only_to_accounts() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.register("bob@example.com").await; // never verified
    app.run_jobs().await;
    for (minutes, messages) in [(15, 1), (45, 1), (60, 2)] {
        for email in [ada.as_str(), "bob@example.com", "nobody@example.com"] {
            app.hammer(email).await;
        }
        app.run_jobs().await;
        assert_eq!(app.emails_about_locks(&ada), messages);
        app.clock.advance(Duration::from_mins(minutes));
    }
    assert_eq!(app.emails_about_locks("bob@example.com"), 0);
    assert!(app.inbox.emails_to("nobody@example.com").is_empty());
}

#[tokio::test]
async fn of_twenty_who_follow_one_unlocking_link_one_gets_through() {
    let app = start().await;
    let other = app.another_replica().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    let token = app.unlock_token(&ada).await;
    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        let body = json!({ "token": token });
        async move { post_from(replica, HOME, UNLOCK, body).await }
    });
    let answers = join_all(calls).await;
    let winners = answers.iter().filter(|answer| answer.status == 204);
    assert_eq!(winners.count(), 1);
    for loser in answers.iter().filter(|answer| answer.status != 204) {
        loser.assert_problem(422, "invalid_token");
    }
}

#[tokio::test]
async fn an_unlocking_link_is_good_for_its_time_and_purpose_only() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    let unlock = app.unlock_token(&ada).await;
    let reset = json!({ "token": unlock, "password": "a password of another kind" });
    app.post(RESET, reset)
        .await
        .assert_problem(422, "invalid_token");
    app.post("/api/v1/auth/verify-email", json!({ "token": unlock }))
        .await
        .assert_problem(422, "invalid_token");
    app.post(FORGOT, json!({ "email": ada }))
        .await
        .assert_status(202);
    let forgotten = app.email_to(&ada).await.token();
    app.post(UNLOCK, json!({ "token": forgotten }))
        .await
        .assert_problem(422, "invalid_token");
    app.post(UNLOCK, json!({ "token": "x" }))
        .await
        .assert_field("token");
    app.post(UNLOCK, json!({ "token": unlock, "email": ada }))
        .await
        .assert_field("email");
    app.clock.advance(Duration::from_hours(1));
    app.post(UNLOCK, json!({ "token": unlock }))
        .await
        .assert_problem(422, "invalid_token");
}

#[tokio::test]
async fn a_new_password_lets_the_owner_in_as_well() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.hammer(&ada).await;
    for _ in 0..5 {
        app.try_from(HOME, "ada@example.org", WRONG).await;
    }
    app.run_jobs().await;
    app.post(FORGOT, json!({ "email": ada }))
        .await
        .assert_status(202);
    let token = app.email_to(&ada).await.token();
    let new = "a password of another kind";
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    post_from(
        &app.replica,
        HOME,
        RESET,
        json!({ "token": token, "password": new }),
    )
    .await
    .assert_status(204);
    app.try_from(HOME, &ada, new).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn of_twenty_wrong_passwords_at_once_five_are_tried() {
    let redis = private_redis().await;
    for app in [start().await, start_with(&redis).await] {
        let ada = app.sign_up("ada").await;
        let calls = (0..20).map(|n| {
            let client = format!("198.51.100.{n}");
            let (app, ada) = (&app, &ada);
            async move { app.try_from(&client, ada, WRONG).await }
        });
        let answers = join_all(calls).await;
        let tried = answers.iter().filter(|answer| answer.status == 401);
        assert_eq!(tried.count(), 5);
        let refused = answers.iter().filter(|answer| answer.status == 429);
        assert_eq!(refused.count(), 15);
        assert_eq!(app.audited("sign_in_failed").await, 5);
        app.run_jobs().await;
        assert_eq!(app.emails_about_locks(&ada), 1);
    }
    redis.stop().await;
}

#[tokio::test]
async fn two_replicas_count_together() {
    let redis = private_redis().await;
    let app = start_with(&redis).await;
    let other = app.another_replica().await;
    let ada = app.sign_up("ada").await;
    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        let client = format!("198.51.100.{n}");
        let ada = &ada;
        async move { try_from(replica, &client, ada, WRONG).await }
    });
    let answers = join_all(calls).await;
    let tried = answers.iter().filter(|answer| answer.status == 401);
    assert_eq!(tried.count(), 5);
    for replica in [&app.replica, &other] {
        assert_waits(&try_from(replica, HOME, &ada, PASSWORD).await, 900);
    }
    // What one replica clears is clear on the other one.
    let token = app.unlock_token(&ada).await;
    post_from(&other, HOME, UNLOCK, json!({ "token": token }))
        .await
        .assert_status(204);
    app.try_from("203.0.113.50", &ada, PASSWORD)
        .await
        .assert_status(200);
    redis.stop().await;
}

#[tokio::test]
async fn failures_before_redis_died_still_count() {
    let redis = private_redis().await;
    let app = start_with(&redis).await;
    let ada = app.sign_up("ada").await;
    for _ in 0..3 {
        app.try_from(HOME, &ada, WRONG).await.assert_status(401);
    }
    redis.stop().await;
    for _ in 0..2 {
        app.try_from(HOME, &ada, WRONG).await.assert_status(401);
    }
    assert_waits(&app.try_from(HOME, &ada, PASSWORD).await, 900);
    app.run_jobs().await;
}

#[tokio::test]
async fn right_passwords_at_once_all_pass() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let calls = (0..20).map(|_| app.try_from(HOME, &ada, PASSWORD));
    for answer in join_all(calls).await {
        answer.assert_status(200);
    }
}

#[tokio::test]
async fn a_session_does_not_help_to_guess_the_password() {
    let app = start().await;
    let ada = app.sign_in("ada").await;
    let stolen = app.log_in("ada@example.com").await;
    let change = |current: &str| json!({ "current_password": current, "new_password": "a password of another kind" });
    let calls = (0..20).map(|_| stolen.post(MY_PASSWORD, change(WRONG)));
    let answers = join_all(calls).await;
    let tried = answers.iter().filter(|answer| answer.status == 422);
    assert_eq!(tried.count(), 5);
    for answer in answers.iter().filter(|answer| answer.status != 422) {
        answer.assert_problem(429, "too_many_attempts");
    }
    assert_eq!(app.audited("reauthentication_failed").await, 5);
    // Nor in another session of the account, nor where else the password is asked for.
    assert_waits(&ada.post(MY_PASSWORD, change(PASSWORD)).await, 900);
    let email = json!({ "email": "countess@example.com", "password": PASSWORD });
    assert_waits(&ada.post("/api/v1/users/me/email", email).await, 900);
    // The sessions are as good as ever, and so is signing in.
    assert!(ada.is_signed_in().await);
    app.log_in("ada@example.com").await;
    app.clock.advance(Duration::from_mins(15));
    ada.post(MY_PASSWORD, change(PASSWORD))
        .await
        .assert_status(204);
    app.run_jobs().await;
}
