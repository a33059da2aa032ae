//! A second factor that is lost for good, and the operator who takes it away.

use serde_json::json;

use super::{MFA, TOTP, begin};
use crate::harness::TestApp;
use crate::process::{run, stderr, stdout};

#[tokio::test]
async fn an_operator_takes_a_lost_factor_away_and_ends_what_it_was_shown_for() {
    let app = TestApp::with(&[("MFA_REQUIRED", "all")]).await;
    let remove = async |email: &str| {
        let args = ["users", "remove-second-factor", "--email", email];
        let output = run(&app.settings, &args).await;
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    let ada = app.enrol("ada").await;
    let grace = app.enrol("grace").await;
    let waiting = app.ask(&ada.email).await;
    ada.session
        .get("/api/v1/audit-log")
        .await
        .assert_status(200);
    app.inbox.clear();

    assert_eq!(remove("ADA@example.com").await, (Some(0), String::new()));
    let message = app.email_to(&ada.email).await;
    assert_eq!(
        message.subject,
        "We removed the second factor for Groundwork"
    );
    assert_eq!(app.audited("second_factor_removed").await, 1);
    let answer = app.replica.refresh(ada.session.refresh_token()).await;
    answer.assert_problem(401, "invalid_refresh_token");
    let answer = app.try_code(&waiting, &ada.app.code(&app)).await;
    answer.assert_problem(401, "invalid_mfa_token");

    // The password is enough until there is another one, and nothing of the one before is left.
    let again = app.log_in(&ada.email).await;
    let status = again.get(MFA).await;
    assert_eq!(
        status.body,
        json!({ "enabled": false, "enabled_at": null, "recovery_codes_left": 0 })
    );
    begin(&again).await;

    // Nobody else's is touched, and one that was not confirmed is none.
    assert_eq!(grace.session.get(MFA).await.body["enabled"], true);
    let (code, reported) = remove(&ada.email).await;
    assert!(
        code == Some(6) && reported.contains("no second factor"),
        "{reported}"
    );
    let body = json!({ "password": crate::harness::PASSWORD });
    again.post(TOTP, body).await.assert_status(200);
    let (code, reported) = remove("nobody@example.com").await;
    assert!(
        code == Some(5) && reported.contains("no account"),
        "{reported}"
    );
    let (code, _) = remove("not an address").await;
    assert_eq!(code, Some(1));
    assert_eq!(app.audited("second_factor_removed").await, 1);
}
