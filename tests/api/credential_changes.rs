//! What was issued or proved under earlier credentials is void once the credentials change.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::mfa::{CONFIRM, LOGIN_MFA, Owner, RECOVERY_CODES, TOTP, begin};
use crate::process::run;

const LOGIN: &str = "/api/v1/auth/login";
const FORGOT: &str = "/api/v1/auth/forgot-password";
const RESET: &str = "/api/v1/auth/reset-password";
const VERIFY: &str = "/api/v1/auth/verify-email";
const MY_EMAIL: &str = "/api/v1/users/me/email";
const MY_PASSWORD: &str = "/api/v1/users/me/password";
const KEYS: &str = "/api/v1/api-keys";
const NEW: &str = "a password of another kind";

/// Lock waits long enough for a test that holds a row on purpose.
const LONG_TIMEOUTS: &[(&str, &str)] =
    &[("DB_LOCK_TIMEOUT", "30s"), ("HTTP_REQUEST_TIMEOUT", "60s")];

/// Everything that changes or defends the credentials of an account that has a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    ChangePassword,
    ResetPassword,
    ChangeEmail,
    TurnFactorOff,
    RenewRecoveryCodes,
    SignOutEverywhere,
    AdminChangesRole,
    AdminDisablesAndEnables,
    AdminEndsSessions,
    OperatorPromotes,
    OperatorRemovesFactor,
    DeletesAccount,
    CancelsDeletion,
}

const ACTS: [Act; 13] = [
    Act::ChangePassword,
    Act::ResetPassword,
    Act::ChangeEmail,
    Act::TurnFactorOff,
    Act::RenewRecoveryCodes,
    Act::SignOutEverywhere,
    Act::AdminChangesRole,
    Act::AdminDisablesAndEnables,
    Act::AdminEndsSessions,
    Act::OperatorPromotes,
    Act::OperatorRemovesFactor,
    Act::DeletesAccount,
    Act::CancelsDeletion,
];

/// Outstanding links and challenges of an account.
struct Outstanding {
    reset: String,
    change_email: String,
    challenge: String,
}

impl TestApp {
    async fn outstanding(&self, owner: &Owner, name: &str) -> Outstanding {
        let new = format!("{name}-intruder@example.com");
        let change =
            json!({ "email": new, "password": PASSWORD, "recovery_code": owner.recovery_codes[0] });
        owner
            .session
            .post(MY_EMAIL, change)
            .await
            .assert_status(202);
        let change_email = self.email_to(&new).await.token();
        Outstanding {
            reset: self.forget(&owner.email).await,
            change_email: change_email.expect("there is a link"),
            challenge: self.ask(&owner.email).await,
        }
    }
}

async fn act(app: &TestApp, root: &Session, owner: &Owner, waiting: &Outstanding, what: Act) {
    let codes = &owner.recovery_codes;
    let both = json!({ "password": PASSWORD, "recovery_code": codes[5] });
    let account = format!("/api/v1/admin/users/{}", owner.session.user_id().await);
    let own = &owner.session;
    let call = |session: &Session, method, path: &str, body| {
        let (replica, token) = (session.replica.clone(), session.access().to_owned());
        let path = path.to_owned();
        async move { replica.call(method, &path, Some(&token), body).await }
    };
    let cli = async |command: &[&str]| {
        let args = [&["users"], command, &["--email", &owner.email]].concat();
        assert!(run(&app.settings, &args).await.status.success(), "{what:?}");
    };
    let patch = async |changes: Value| {
        let mut body = changes;
        body["password"] = PASSWORD.into();
        root.patch(&account, body).await.assert_status(200);
    };
    match what {
        Act::ChangePassword => {
            let change = json!({ "current_password": PASSWORD, "new_password": NEW, "recovery_code": codes[5] });
            own.post(MY_PASSWORD, change).await.assert_status(204);
        }
        Act::ResetPassword => {
            let reset = json!({ "token": waiting.reset, "password": NEW });
            app.post(RESET, reset).await.assert_status(204);
        }
        Act::ChangeEmail => {
            let proof = json!({ "token": waiting.change_email });
            app.post(VERIFY, proof).await.assert_status(204);
        }
        Act::TurnFactorOff => {
            let off = call(own, Method::DELETE, TOTP, Some(both)).await;
            off.assert_status(204);
        }
        Act::RenewRecoveryCodes => own.post(RECOVERY_CODES, both).await.assert_status(200),
        Act::SignOutEverywhere => {
            let out = call(own, Method::POST, "/api/v1/auth/logout-all", None).await;
            out.assert_status(204);
        }
        Act::AdminChangesRole => patch(json!({ "role": "admin" })).await,
        Act::AdminDisablesAndEnables => {
            patch(json!({ "disabled": true })).await;
            patch(json!({ "disabled": false })).await;
        }
        Act::AdminEndsSessions => {
            let sessions = format!("{account}/sessions");
            let ended = call(root, Method::DELETE, &sessions, None).await;
            ended.assert_status(204);
        }
        Act::OperatorPromotes => cli(&["create-admin", "--promote"]).await,
        Act::OperatorRemovesFactor => cli(&["remove-second-factor"]).await,
        Act::DeletesAccount | Act::CancelsDeletion => {
            let me = "/api/v1/users/me";
            let deleted = call(own, Method::DELETE, me, Some(both)).await;
            deleted.assert_status(200);
            if what == Act::CancelsDeletion {
                let mut proof = json!({ "password": PASSWORD, "recovery_code": codes[6] });
                proof["email"] = owner.email.as_str().into();
                let cancel = "/api/v1/auth/cancel-deletion";
                app.post(cancel, proof).await.assert_status(204);
            }
        }
    }
}

#[tokio::test]
async fn every_change_or_defence_voids_links_waiting_sign_ins_and_queued_emails() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    for (n, what) in ACTS.into_iter().enumerate() {
        let name = format!("owner-{n}");
        let owner = app.enrol(&name).await;
        let waiting = app.outstanding(&owner, &name).await;
        // Asked for before the act; the emails would be sent after it.
        let change = json!({ "email": format!("{name}-later@example.com"), "password": PASSWORD,
            "recovery_code": owner.recovery_codes[1] });
        owner
            .session
            .post(MY_EMAIL, change)
            .await
            .assert_status(202);
        app.post(FORGOT, json!({ "email": owner.email }))
            .await
            .assert_status(202);
        app.inbox.clear();

        act(&app, &root, &owner, &waiting, what).await;

        app.run_jobs().await;
        let subjects: Vec<_> = app
            .inbox
            .messages()
            .iter()
            .map(|it| it.subject.clone())
            .collect();
        for void in ["Set a new password", "Confirm your new address"] {
            assert!(
                !subjects.iter().any(|it| it.starts_with(void)),
                "{what:?}: {subjects:?}"
            );
        }
        let reset = json!({ "token": waiting.reset, "password": "yet another password" });
        let change = json!({ "token": waiting.change_email });
        for (path, body) in [(RESET, reset), (VERIFY, change)] {
            let answer = app.post(path, body).await;
            assert_eq!(
                answer.body["code"], "invalid_token",
                "{what:?} {path}: {}",
                answer.body
            );
        }
        let second =
            json!({ "mfa_token": waiting.challenge, "recovery_code": owner.recovery_codes[9] });
        let answer = app.post(LOGIN_MFA, second).await;
        assert_eq!(
            answer.body["code"], "invalid_mfa_token",
            "{what:?}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_second_factor_that_is_turned_on_voids_links_and_one_of_before_cannot_be_confirmed() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let reset = app.forget("ada@example.com").await;
    let device = begin(&ada).await;
    let body = json!({ "code": device.code(&app) });
    ada.post(CONFIRM, body).await.assert_status(200);
    let answer = app
        .post(RESET, json!({ "token": reset, "password": NEW }))
        .await;
    answer.assert_problem(422, "invalid_token");

    // Somebody else begins to add an authenticator; the owner's change of the password ends that.
    let grace = app.sign_in("grace").await;
    let device = begin(&grace).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    grace.post(MY_PASSWORD, change).await.assert_status(204);
    let body = json!({ "code": device.code(&app) });
    grace
        .post(CONFIRM, body)
        .await
        .assert_problem(409, "conflict");
    app.run_jobs().await;
}

#[tokio::test]
async fn an_intruders_change_of_the_address_does_not_outlive_the_owners_reset() {
    let app = TestApp::new().await;
    let intruder = app.sign_in("ada").await;
    let change = json!({ "email": "intruder@example.com", "password": PASSWORD });
    intruder.post(MY_EMAIL, change).await.assert_status(202);
    let link = app.email_to("intruder@example.com").await.token();
    let token = app.forget("ada@example.com").await;
    app.post(RESET, json!({ "token": token, "password": NEW }))
        .await
        .assert_status(204);
    app.run_jobs().await;
    let late = app.post(VERIFY, json!({ "token": link })).await;
    late.assert_problem(422, "invalid_token");
    let body = json!({ "email": "ada@example.com", "password": NEW });
    app.post(LOGIN, body).await.assert_status(200);
}

#[tokio::test]
async fn no_sign_in_that_races_a_reset_keeps_a_session() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let other = app.another_replica().await;
    let ada = app.sign_up("ada").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..6 {
        let token = app.forget(&ada).await;
        let new = format!("password number {round} of six");
        let is_done = AtomicBool::new(false);
        let threads = (0..8).map(|n| {
            let replica = if n % 2 == 0 { &app.replica } else { &other };
            let (is_done, password, ada) = (&is_done, &password, &ada);
            async move {
                let mut tokens = Vec::new();
                while !is_done.load(Ordering::Relaxed) {
                    let body = json!({ "email": ada, "password": password });
                    let answer = replica.call(Method::POST, LOGIN, None, Some(body)).await;
                    match answer.status.as_u16() {
                        200 => tokens.push(answer.body["refresh_token"].to_string()),
                        _ => answer.assert_problem(401, "invalid_credentials"),
                    }
                }
                tokens
            }
        });
        let reset = async {
            let body = json!({ "token": token, "password": new });
            app.post(RESET, body).await.assert_status(204);
            is_done.store(true, Ordering::Relaxed);
        };
        let (tokens, ()) = tokio::join!(join_all(threads), reset);
        for token in tokens.concat() {
            let refreshed = app.replica.refresh(token.trim_matches('"')).await;
            refreshed.assert_problem(401, "invalid_refresh_token");
        }
        app.run_jobs().await;
        password = new;
    }
}

/// What a request is answered that proved the credentials of an account before they change, and comes to
/// write after: the change is committed once the request waits for it.
async fn overtaken(app: &TestApp, email: &str, request: impl Future<Output = Answer>) -> Answer {
    let mut owner = app.owner().await;
    sqlx::query("BEGIN")
        .execute(&mut owner)
        .await
        .expect("it begins");
    sqlx::query("UPDATE users SET credentials_version = credentials_version + 1 WHERE email = $1")
        .bind(email)
        .execute(&mut owner)
        .await
        .expect("the account is there");
    let commit = async {
        let waits = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let is_waiting = async {
            while sqlx::query_scalar::<_, i64>(waits)
                .fetch_one(&app.owner_db)
                .await
                .expect("it counts")
                == 0
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), is_waiting)
            .await
            .expect("the request waits for the change");
        sqlx::query("COMMIT")
            .execute(&mut owner)
            .await
            .expect("it commits");
    };
    tokio::join!(request, commit).0
}

#[tokio::test]
async fn what_was_proved_is_still_true_when_it_is_made_use_of() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let ada = app.sign_in("ada").await;
    let email = "ada@example.com";
    let key = ada.new_key(&["read"]).await.id;
    let login = json!({ "email": email, "password": PASSWORD });

    let answer = overtaken(&app, email, app.post(LOGIN, login)).await;
    answer.assert_problem(401, "invalid_credentials");
    let rotate = format!("{KEYS}/{key}/rotate");
    for (path, body) in [
        (
            KEYS,
            json!({ "name": "CI", "scopes": ["read"], "password": PASSWORD }),
        ),
        (&*rotate, json!({ "password": PASSWORD, "overlap": 0 })),
        (
            MY_EMAIL,
            json!({ "email": "new@example.com", "password": PASSWORD }),
        ),
        (TOTP, json!({ "password": PASSWORD })),
    ] {
        let answer = overtaken(&app, email, ada.post(path, body)).await;
        answer.assert_problem(409, "conflict");
    }
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    let answer = overtaken(&app, email, ada.post(MY_PASSWORD, change)).await;
    answer.assert_field("current_password");
    app.run_jobs().await;
    assert!(app.inbox.emails_to("new@example.com").is_empty());
    let keys = ada.get(KEYS).await;
    assert_eq!(keys.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_both_factors_proved_is_still_true_when_it_is_made_use_of() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let ada = app.enrol("ada").await;
    let login = json!({ "email": ada.email, "password": PASSWORD });
    let answer = overtaken(&app, &ada.email, app.post(LOGIN, login)).await;
    answer.assert_problem(401, "invalid_credentials");
    let waiting = app.ask(&ada.email).await;
    let second = json!({ "mfa_token": waiting, "recovery_code": ada.recovery_codes[0] });
    let answer = overtaken(&app, &ada.email, app.post(LOGIN_MFA, second)).await;
    answer.assert_problem(401, "invalid_mfa_token");
    let both = json!({ "password": PASSWORD, "recovery_code": ada.recovery_codes[1] });
    let answer = overtaken(&app, &ada.email, ada.session.post(RECOVERY_CODES, both)).await;
    answer.assert_problem(409, "conflict");
    app.run_jobs().await;
}

#[tokio::test]
async fn an_administrators_proof_is_still_true_when_the_role_changes() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let root = app.sign_in_admin("root").await;
    let ada = app.sign_in("ada").await;
    let path = format!("/api/v1/admin/users/{}", ada.user_id().await);
    let promote = json!({ "role": "admin", "password": PASSWORD });
    let answer = overtaken(&app, "root@example.com", root.patch(&path, promote)).await;
    answer.assert_problem(409, "conflict");
    assert_eq!(app.audited("role_changed").await, 0);
}

#[tokio::test]
async fn a_link_from_before_a_deployment_works_until_the_first_change() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    // As the release before leaves an account, a link and a queued job: without a version.
    for reset in [
        "UPDATE users SET credentials_version = DEFAULT",
        "UPDATE one_time_tokens SET credentials_version = DEFAULT",
    ] {
        sqlx::query(reset)
            .execute(&app.owner_db)
            .await
            .expect("it is stored");
    }
    let enqueue = async |task: &str, payload: Value| {
        sqlx::query("SELECT 1 FROM graphile_worker.add_job($1, payload => $2::json)")
            .bind(task)
            .bind(payload.to_string())
            .execute(&app.owner_db)
            .await
            .expect("it is enqueued");
    };
    let me = ada.user_id().await;
    let change = json!({ "user_id": me, "email": "countess@example.com" });
    enqueue("auth.confirm_new_email", change.clone()).await;
    enqueue("auth.send_reset", json!({ "email": "ada@example.com" })).await;
    let link = app.email_to("countess@example.com").await.token();
    let reset = app.email_to("ada@example.com").await.token();
    app.post(RESET, json!({ "token": reset, "password": NEW }))
        .await
        .assert_status(204);
    app.post(VERIFY, json!({ "token": link }))
        .await
        .assert_problem(422, "invalid_token");
    app.run_jobs().await;
    app.inbox.clear();
    enqueue("auth.confirm_new_email", change).await;
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
}

#[tokio::test]
async fn who_asks_for_an_address_gets_the_same_emails_whether_or_not_it_is_taken() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_up("grace").await;
    app.register("pending@example.com").await;
    app.run_jobs().await;
    let mut seen = Vec::new();
    for (new, is_asked) in [
        ("free@example.com", true),
        ("grace@example.com", false),
        ("pending@example.com", true),
        ("ada@example.com", false),
    ] {
        app.inbox.clear();
        let change = json!({ "email": new, "password": PASSWORD });
        let answer = ada.post(MY_EMAIL, change).await;
        app.run_jobs().await;
        let reported: Vec<_> = app.inbox.emails_to("ada@example.com");
        let reported: Vec<_> = reported
            .iter()
            .map(|it| (it.subject.clone(), it.text.clone()))
            .collect();
        assert_eq!(reported.len(), 1, "{new}");
        if new != "ada@example.com" {
            let asked = app.inbox.emails_to(new).len();
            assert_eq!(asked, usize::from(is_asked), "{new}");
        }
        seen.push((answer.status, answer.bytes, reported));
    }
    assert!(seen.iter().all(|it| *it == seen[0]));
}
