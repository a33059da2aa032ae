//! Second factors: turning them on and off, and signing in with one.

mod authenticator;
mod enrolment;
mod guesses;
mod operator;
mod reauthentication;
mod required;
mod sealed;
mod sign_in;
mod transport;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

pub use self::authenticator::Authenticator;
use crate::harness::{Answer, PASSWORD, Replica, Session, TestApp};

const LOGIN: &str = "/api/v1/auth/login";
pub const LOGIN_MFA: &str = "/api/v1/auth/login/mfa";
const MFA: &str = "/api/v1/auth/mfa";
pub const TOTP: &str = "/api/v1/auth/mfa/totp";
pub const CONFIRM: &str = "/api/v1/auth/mfa/totp/confirm";
pub const RECOVERY_CODES: &str = "/api/v1/auth/mfa/recovery-codes";
pub const STEP: Duration = Duration::from_secs(30);

/// Somebody with a second factor, signed in.
pub struct Owner {
    pub email: String,
    pub session: Session,
    pub app: Authenticator,
    pub recovery_codes: Vec<String>,
}

impl TestApp {
    /// Somebody with a second factor. The code that turned it on is of the past.
    pub async fn enrol(&self, name: &str) -> Owner {
        let session = self.sign_in(name).await;
        let app = begin(&session).await;
        let body = json!({ "code": app.code(self) });
        let answer = session.post(CONFIRM, body).await;
        answer.assert_status(200);
        self.run_jobs().await;
        self.clock.advance(STEP);
        Owner {
            email: format!("{name}@example.com"),
            session,
            app,
            recovery_codes: codes(&answer),
        }
    }

    /// The token of a sign-in that waits for its second factor.
    pub async fn ask(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = self.post(LOGIN, body).await;
        answer.assert_status(202);
        assert_eq!(answer.body["methods"], json!(["totp", "recovery_code"]));
        answer.body["mfa_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    pub async fn try_code(&self, mfa_token: &str, code: &str) -> Answer {
        try_code_at(&self.replica, mfa_token, code).await
    }

    async fn try_recovery(&self, mfa_token: &str, code: &str) -> Answer {
        let body = json!({ "mfa_token": mfa_token, "recovery_code": code });
        self.post(LOGIN_MFA, body).await
    }
}

impl Session {
    async fn remove(&self, body: Value) -> Answer {
        let token = Some(self.access());
        self.replica
            .call(Method::DELETE, TOTP, token, Some(body))
            .await
    }
}

pub async fn try_code_at(replica: &Replica, mfa_token: &str, code: &str) -> Answer {
    let body = json!({ "mfa_token": mfa_token, "code": code });
    replica
        .call(Method::POST, LOGIN_MFA, None, Some(body))
        .await
}

/// Begins to add an authenticator, and tells it the secret.
pub async fn begin(session: &Session) -> Authenticator {
    let answer = session.post(TOTP, json!({ "password": PASSWORD })).await;
    answer.assert_status(200);
    Authenticator::new(answer.body["secret"].as_str().expect("a secret"))
}

fn codes(answer: &Answer) -> Vec<String> {
    let codes = answer.body["recovery_codes"]
        .as_array()
        .expect("there are codes");
    codes
        .iter()
        .map(|code| code.as_str().expect("a code").to_owned())
        .collect()
}

/// How many of these answers are so.
fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|it| it.status == status).count()
}
