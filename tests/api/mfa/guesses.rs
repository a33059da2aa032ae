//! Guessing codes: few tries for a sign-in, few for an account, and a way in for its owner.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{CONFIRM, Owner, begin, count};
use crate::harness::TestApp;

impl TestApp {
    /// Gives so many wrong codes, five for each sign-in.
    async fn guess(&self, owner: &Owner, times: usize) {
        let mut token = String::new();
        for n in 0..times {
            if n % 5 == 0 {
                token = self.ask(&owner.email).await;
            }
            let answer = self.try_code(&token, &owner.app.wrong_code(self)).await;
            answer.assert_problem(401, "invalid_mfa_code");
        }
    }
}

#[tokio::test]
async fn after_five_attempts_a_sign_in_starts_again() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    for _ in 0..5 {
        let answer = app.try_code(&token, &ada.app.wrong_code(&app)).await;
        answer.assert_problem(401, "invalid_mfa_code");
    }
    for code in [ada.app.wrong_code(&app), ada.app.code(&app)] {
        let answer = app.try_code(&token, &code).await;
        answer.assert_problem(401, "invalid_mfa_token");
    }
    let token = app.ask(&ada.email).await;
    let code = ada.app.code(&app);
    app.try_code(&token, &code).await.assert_status(200);
}

#[tokio::test]
async fn twenty_tries_at_once_are_five() {
    let app = TestApp::with(&[("MFA_FAILURES_PER_HOUR", "100")]).await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    let wrong = ada.app.wrong_code(&app);
    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        super::try_code_at(replica, &token, &wrong)
    });
    let answers = join_all(calls).await;
    let tried = answers
        .iter()
        .filter(|it| it.body["code"] == "invalid_mfa_code");
    assert_eq!(tried.count(), 5);
    assert_eq!(count(&answers, 401), 20);
}

#[tokio::test]
async fn ten_wrong_codes_an_hour_are_all_that_an_account_gets() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    app.inbox.clear();
    app.guess(&ada, 10).await;

    // Not even the right one is tried, whichever replica is asked, and the sign-in is not used up.
    let token = app.ask(&ada.email).await;
    let other = app.another_replica().await;
    for _ in 0..6 {
        let answer = super::try_code_at(&other, &token, &ada.app.code(&app)).await;
        answer.assert_problem(429, "too_many_attempts");
        assert_eq!(answer.headers["retry-after"], "3600");
    }
    let message = app.email_to(&ada.email).await;
    assert_eq!(
        message.subject,
        "Somebody knows your password for Groundwork"
    );

    // The owner gets in all the same.
    let code = &ada.recovery_codes[0];
    app.try_recovery(&token, code).await.assert_status(200);
    app.run_jobs().await;

    app.clock.advance(Duration::from_secs(3599));
    let token = app.ask(&ada.email).await;
    let early = app.try_code(&token, &ada.app.code(&app)).await;
    early.assert_problem(429, "too_many_attempts");
    app.clock.advance(Duration::from_secs(1));
    let code = ada.app.code(&app);
    app.try_code(&token, &code).await.assert_status(200);
}

#[tokio::test]
async fn signing_in_between_does_not_give_more_guesses() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    app.guess(&ada, 9).await;
    let token = app.ask(&ada.email).await;
    let code = ada.app.code(&app);
    app.try_code(&token, &code).await.assert_status(200);
    app.guess(&ada, 1).await;
    app.run_jobs().await;
    let token = app.ask(&ada.email).await;
    let next = ada.app.code_in(&app, 1);
    let answer = app.try_code(&token, &next).await;
    answer.assert_problem(429, "too_many_attempts");
}

#[tokio::test]
async fn of_forty_guesses_at_once_ten_are_tried() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.push(app.ask(&ada.email).await);
    }
    let wrong = ada.app.wrong_code(&app);
    let calls = (0..40).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        super::try_code_at(replica, &tokens[n % 8], &wrong)
    });
    let answers = join_all(calls).await;
    assert_eq!((count(&answers, 401), count(&answers, 429)), (10, 30));
    app.run_jobs().await;
}

#[tokio::test]
async fn the_owner_is_notified_of_guesses_once_a_day() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    app.inbox.clear();
    app.guess(&ada, 10).await;
    app.clock.advance(Duration::from_hours(1));
    app.guess(&ada, 10).await;
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to(&ada.email).len(), 1);
    app.clock.advance(Duration::from_hours(24));
    app.guess(&ada, 10).await;
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to(&ada.email).len(), 2);
}

#[tokio::test]
async fn somebody_signed_in_gets_no_more_guesses_and_starting_again_gives_none() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let first = begin(&ada).await;
    for _ in 0..10 {
        let body = json!({ "code": first.wrong_code(&app) });
        ada.post(CONFIRM, body).await.assert_field("code");
    }
    let second = begin(&ada).await;
    let body = json!({ "code": second.code(&app) });
    let answer = ada.post(CONFIRM, body).await;
    answer.assert_problem(429, "too_many_attempts");
}
