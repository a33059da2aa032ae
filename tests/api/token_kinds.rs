//! Each kind of token in each place that takes one: a token is good where it was meant for and
//! nowhere else (RFC 8725 §3.11).

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::mfa::{CONFIRM, LOGIN_MFA, Owner, RECOVERY_CODES, STEP, TOTP, begin};

const ME: &str = "/api/v1/users/me";
const REFRESH: &str = "/api/v1/auth/refresh";
const LOGOUT: &str = "/api/v1/auth/logout";
const VERIFY: &str = "/api/v1/auth/verify-email";
const RESET: &str = "/api/v1/auth/reset-password";
const UNLOCK: &str = "/api/v1/auth/unlock";
const UNDO: &str = "/api/v1/auth/undo-email-change";
const MY_EMAIL: &str = "/api/v1/users/me/email";
/// The service's own origin.
const HERE: &str = "http://127.0.0.1";

/// Whatever the service gives out that is shown to it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
    Csrf,
    Challenge,
    ApiKey,
    ApiKeySecret,
    VerifyLink,
    ResetLink,
    ChangeEmailLink,
    UnlockLink,
    UndoLink,
    Totp,
    RecoveryCode,
}

/// Wherever one is taken, what it takes, and how it refuses the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BearerHeader,
    BasicHeader,
    QueryString,
    AccessCookie,
    RefreshCookie,
    RefreshBody,
    LogoutHeader,
    LogoutBody,
    CsrfHeader,
    MfaToken,
    MfaCode,
    MfaRecoveryCode,
    ConfirmCode,
    RemovalCode,
    RemovalRecoveryCode,
    RenewalCode,
    RenewalRecoveryCode,
    VerifyBody,
    ResetBody,
    UnlockBody,
    UndoBody,
}

const PLACES: [(Place, &[Kind], &[&str]); 21] = {
    use Kind::{
        Access, ApiKey, Challenge, ChangeEmailLink, Csrf, RecoveryCode, Refresh, ResetLink, Totp,
        UndoLink, UnlockLink, VerifyLink,
    };
    const DOOR: &[&str] = &["401 unauthenticated"];
    const SESSION: &[&str] = &["401 invalid_refresh_token", "422 invalid_fields"];
    const FIELD: &[&str] = &["422 invalid_fields"];
    const LINK: &[&str] = &["422 invalid_token", "422 invalid_fields"];
    [
        (Place::BearerHeader, &[Access, ApiKey], DOOR),
        (Place::BasicHeader, &[], DOOR),
        (Place::QueryString, &[], DOOR),
        (Place::AccessCookie, &[Access], DOOR),
        (
            Place::RefreshCookie,
            &[Refresh],
            &["401 invalid_refresh_token"],
        ),
        (Place::RefreshBody, &[Refresh], SESSION),
        (Place::LogoutHeader, &[Access], DOOR),
        // Whoever signs out is not told whether there was anything to end.
        (
            Place::LogoutBody,
            &[Refresh],
            &["204 ", "422 invalid_fields"],
        ),
        (Place::CsrfHeader, &[Csrf], &["403 csrf_refused"]),
        (
            Place::MfaToken,
            &[Challenge],
            &["401 invalid_mfa_token", "422 invalid_fields"],
        ),
        (Place::MfaCode, &[Totp], FIELD),
        (Place::MfaRecoveryCode, &[RecoveryCode], FIELD),
        // That of another account: it takes no code of this one's.
        (Place::ConfirmCode, &[], FIELD),
        (Place::RemovalCode, &[Totp], FIELD),
        (Place::RemovalRecoveryCode, &[RecoveryCode], FIELD),
        (Place::RenewalCode, &[Totp], FIELD),
        (Place::RenewalRecoveryCode, &[RecoveryCode], FIELD),
        (Place::VerifyBody, &[VerifyLink, ChangeEmailLink], LINK),
        (Place::ResetBody, &[ResetLink], LINK),
        (Place::UnlockBody, &[UnlockLink], LINK),
        (Place::UndoBody, &[UndoLink], LINK),
    ]
};

/// An account with one of each, and another one that is about to add an authenticator.
struct World {
    app: TestApp,
    ada: Owner,
    grace: Session,
    held: Vec<(Kind, String)>,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::with(&[
            ("TRUSTED_PROXIES", "127.0.0.0/8"),
            ("LIMIT_FAILURES_ACCOUNT", "5/15m"),
        ])
        .await;
        let ada = app.enrol("ada").await;
        let grace = app.sign_in("grace").await;
        begin(&grace).await;

        let challenge = app.ask(&ada.email).await;
        let key = ada.new_key(&["read", "write"], 8).await;
        let csrf = ada.session.get("/api/v1/auth/csrf").await;
        let csrf = csrf.body["csrf_token"].as_str().expect("a token");
        app.register("newcomer@example.com").await;
        let verify = app.email_to("newcomer@example.com").await.token();
        // Somebody else's, as what changes an account voids the links in its other emails.
        let moved = app.sign_in("moved").await;
        let change = json!({ "email": "away@example.com", "password": PASSWORD });
        moved.post(MY_EMAIL, change).await.assert_status(202);
        let proof = json!({ "token": app.email_to("away@example.com").await.token() });
        app.run_jobs().await;
        app.post(VERIFY, proof).await.assert_status(204);
        let undo = app.email_to("moved@example.com").await.token();
        let change = json!({ "email": "countess@example.com", "password": PASSWORD,
            "recovery_code": ada.recovery_codes[9] });
        let answer = ada.session.post(MY_EMAIL, change).await;
        answer.assert_status(202);
        let change = app.email_to("countess@example.com").await.token();
        let reset = app.forget(&ada.email).await;
        app.hammer(&ada.email).await;
        let unlock = app.unlock_token(&ada.email).await;
        let held = vec![
            (Kind::Access, ada.session.access().to_owned()),
            (Kind::Refresh, ada.session.refresh_token().to_owned()),
            (Kind::Csrf, csrf.to_owned()),
            (Kind::Challenge, challenge),
            (Kind::ApiKeySecret, key.secret().to_owned()),
            (Kind::ApiKey, key.text),
            (Kind::VerifyLink, verify.expect("it has a link")),
            (Kind::ResetLink, reset),
            (Kind::ChangeEmailLink, change.expect("it has a link")),
            (Kind::UnlockLink, unlock),
            (Kind::UndoLink, undo.expect("it has a link")),
            (Kind::Totp, ada.app.code(&app)),
            (Kind::RecoveryCode, ada.recovery_codes[0].clone()),
        ];
        Self {
            app,
            ada,
            grace,
            held,
        }
    }

    fn held(&self, kind: Kind) -> &str {
        let held = self.held.iter().find(|(of, _)| *of == kind);
        &held.expect("there is one of each").1
    }

    /// Shows `token` in this place; all else that the place asks for is as it should be.
    async fn show(&self, place: Place, token: &str) -> Answer {
        let (replica, ada) = (&self.app.replica, &self.ada.session);
        let access = Some(ada.access());
        let challenge = self.held(Kind::Challenge);
        let post = |path, body| self.app.post(path, body);
        match place {
            Place::BearerHeader => replica.call(Method::GET, ME, Some(token), None).await,
            Place::BasicHeader => {
                let request = replica.request(Method::GET, ME);
                let request = request.basic_auth("token", Some(token));
                replica.send(&Method::GET, ME, request).await
            }
            Place::QueryString => {
                let path = format!("{ME}?access_token={token}");
                replica.call(Method::GET, &path, None, None).await
            }
            Place::AccessCookie => {
                let request = replica.request(Method::GET, ME);
                let request = request.header("cookie", format!("access={token}"));
                replica.send(&Method::GET, ME, request).await
            }
            Place::RefreshCookie => {
                let request = replica
                    .request(Method::POST, REFRESH)
                    .header("cookie", format!("refresh={token}"))
                    .header("origin", HERE)
                    .header("x-csrf-token", self.held(Kind::Csrf));
                replica.send(&Method::POST, REFRESH, request).await
            }
            Place::RefreshBody => replica.refresh(token).await,
            Place::LogoutHeader => {
                let token = Some(token);
                replica.call(Method::POST, LOGOUT, token, None).await
            }
            Place::LogoutBody => post(LOGOUT, json!({ "refresh_token": token })).await,
            Place::CsrfHeader => {
                let request = replica
                    .request(Method::PATCH, ME)
                    .header("cookie", format!("access={}", ada.access()))
                    .header("origin", HERE)
                    .header("x-csrf-token", token)
                    .json(&json!({ "first_name": "Ada" }));
                replica.send(&Method::PATCH, ME, request).await
            }
            Place::MfaToken => {
                let code = self.held(Kind::Totp);
                post(LOGIN_MFA, json!({ "mfa_token": token, "code": code })).await
            }
            Place::MfaCode => {
                post(LOGIN_MFA, json!({ "mfa_token": challenge, "code": token })).await
            }
            Place::MfaRecoveryCode => {
                let body = json!({ "mfa_token": challenge, "recovery_code": token });
                post(LOGIN_MFA, body).await
            }
            Place::ConfirmCode => self.grace.post(CONFIRM, json!({ "code": token })).await,
            Place::RemovalCode | Place::RemovalRecoveryCode => {
                let body = Some(both(place == Place::RemovalCode, token));
                replica.call(Method::DELETE, TOTP, access, body).await
            }
            Place::RenewalCode | Place::RenewalRecoveryCode => {
                let body = both(place == Place::RenewalCode, token);
                ada.post(RECOVERY_CODES, body).await
            }
            Place::VerifyBody => post(VERIFY, json!({ "token": token })).await,
            Place::ResetBody => {
                let body = json!({ "token": token, "password": "a password of another kind" });
                post(RESET, body).await
            }
            Place::UnlockBody => post(UNLOCK, json!({ "token": token })).await,
            Place::UndoBody => {
                let body = json!({ "token": token, "password": "a password of another kind" });
                post(UNDO, body).await
            }
        }
    }
}

/// Both factors; the second by code or by recovery code.
fn both(by_code: bool, token: &str) -> Value {
    let field = if by_code { "code" } else { "recovery_code" };
    let mut body = json!({ "password": PASSWORD });
    body[field] = token.into();
    body
}

#[tokio::test]
async fn each_kind_of_token_is_good_in_its_own_places_and_in_no_other() {
    let mut world = World::new().await;
    let mut tried = 0;
    for (place, takes, refusals) in PLACES {
        for (kind, token) in &world.held {
            if takes.contains(kind) {
                continue;
            }
            let answer = world.show(place, token).await;
            let code = answer.body["code"].as_str().unwrap_or_default();
            let said = format!("{} {code}", answer.status.as_u16());
            assert!(
                refusals.contains(&said.as_str()),
                "{kind:?} in {place:?}: {said}"
            );
            tried += 1;
        }
        assert!(world.ada.session.is_signed_in().await, "{place:?}");
    }
    assert_eq!(tried, 21 * 13 - 20, "all but what is meant for each other");

    // None of that used anything up, and what was refused is good where it belongs.
    for (place, kind, status) in [
        (Place::BearerHeader, Kind::Access, 200),
        (Place::BearerHeader, Kind::ApiKey, 200),
        (Place::AccessCookie, Kind::Access, 200),
        (Place::CsrfHeader, Kind::Csrf, 200),
        (Place::RefreshBody, Kind::Refresh, 200),
        (Place::RefreshCookie, Kind::Refresh, 200),
        (Place::MfaToken, Kind::Challenge, 200),
        (Place::VerifyBody, Kind::VerifyLink, 204),
        (Place::UnlockBody, Kind::UnlockLink, 204),
        (Place::UndoBody, Kind::UndoLink, 204),
        (Place::VerifyBody, Kind::ChangeEmailLink, 204),
        // That has changed the credentials, and a reset link of before is void.
        (Place::ResetBody, Kind::ResetLink, 422),
        (Place::RenewalRecoveryCode, Kind::RecoveryCode, 200),
        (Place::LogoutHeader, Kind::Access, 204),
    ] {
        let answer = world.show(place, world.held(kind)).await;
        assert_eq!(
            answer.status, status,
            "{kind:?} in {place:?}: {}",
            answer.body
        );
    }
    world.app.clock.advance(STEP);
    world.app.run_jobs().await;
    world.held.clear();
}
