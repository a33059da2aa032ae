//! Addresses that emails bounce from, or whose owners complain.

use std::time::Duration;

use groundwork::consents::OptionalKind;
use groundwork::ctx::Ctx;
use groundwork::email_preferences::{Outcome, suppress};
use groundwork::mail::{PurgeSuppressions, SuppressionReason, list_suppressions};
use serde_json::json;

use super::{ADA, NEWS};
use crate::harness::{Session, TestApp};
use crate::process::{run, stderr, stdout};
use crate::smtp::server::{Server, Tls};

async fn report(app: &TestApp, reason: SuppressionReason) -> bool {
    let address = ADA.to_owned().try_into().expect("it is an address");
    let done = suppress(&Ctx::system(&app.state), &address, reason).await;
    done.expect("it is stored")
}

/// Causes an email about an organisation, one about credentials, a reset and news; returns the subjects that came.
async fn subjects(app: &TestApp, ada: &Session) -> Vec<String> {
    app.inbox.clear();
    let acme = ada.new_organisation("acme").await;
    let path = format!("/api/v1/organisations/{acme}");
    let body = json!({ "password": crate::harness::PASSWORD });
    let deleted = ada.replica.call(
        reqwest::Method::DELETE,
        &path,
        Some(ada.access()),
        Some(body),
    );
    deleted.await.assert_status(204);
    let forgot = json!({ "email": ADA });
    let asked = app.post("/api/v1/auth/forgot-password", forgot).await;
    asked.assert_status(202);
    app.send_news(ADA).await;
    app.run_jobs().await;
    let messages = app.inbox.emails_to(ADA);
    let mut subjects: Vec<_> = messages.iter().map(|it| it.subject.clone()).collect();
    subjects.sort();
    subjects
}

const NOTICE: &str = "Your organisation at Groundwork has changed";
const RESET: &str = "Set a new password for Groundwork";

#[tokio::test]
async fn a_reason_stops_what_it_says_and_never_the_emails_to_sign_in() {
    use SuppressionReason::{Bounce, Complaint, Manual};
    for (reason, expected) in [
        (None, &[RESET, NEWS, NOTICE][..]),
        (Some(Manual), &[RESET, NOTICE]),
        (Some(Complaint), &[RESET, NOTICE]),
        (Some(Bounce), &[RESET]),
    ] {
        let app = TestApp::new().await;
        let ada = app.subscriber("ada").await;
        if let Some(reason) = reason {
            assert!(report(&app, reason).await);
            assert!(!report(&app, reason).await, "it is known");
        }
        assert_eq!(subjects(&app, &ada).await, expected, "{reason:?}");
        let is_given = ada.has_asked_for("product_news").await;
        assert_eq!(is_given, reason != Some(Complaint), "{reason:?}");
        let audited = app.audited("email_suppressed").await;
        assert_eq!(audited, i64::from(reason.is_some()));
    }
}

#[tokio::test]
async fn a_link_that_is_used_shows_that_the_mailbox_works_again() {
    let app = TestApp::new().await;
    let ada = app.subscriber("ada").await;
    report(&app, SuppressionReason::Bounce).await;
    report(&app, SuppressionReason::Manual).await;
    let forgot = json!({ "email": ADA });
    app.post("/api/v1/auth/forgot-password", forgot)
        .await
        .assert_status(202);
    let token = app.email_to(ADA).await.token().expect("it has a link");
    let reset = json!({ "token": token, "password": crate::harness::PASSWORD });
    app.post("/api/v1/auth/reset-password", reset)
        .await
        .assert_status(204);
    app.run_jobs().await;
    drop(ada);
    let ada = app.log_in(ADA).await;
    // The decision of a person stays.
    assert_eq!(subjects(&app, &ada).await, [RESET, NOTICE]);
}

#[tokio::test]
async fn a_mailbox_that_does_not_exist_is_suppressed() {
    let mut app = TestApp::new().await;
    app.subscriber("ada").await;
    let server = Server::start(Tls::Never, &[("RCPT", "550 5.1.1 no such user")]).await;
    let url = format!("smtp://{}", server.addr);
    let replica = app.another_replica_with(&[("SMTP_URL", &url)]).await;
    let state = std::mem::replace(&mut app.state, replica.state.clone());
    let outcome = app.send_news(ADA).await;
    assert_eq!(outcome, Outcome::Suppressed(SuppressionReason::Bounce));
    assert_eq!(server.lines_with("RCPT").len(), 1);
    app.state = state;
    assert_eq!(app.audited("email_suppressed").await, 1);
    let shown = run(&app.settings, &["emails", "show", "--email", ADA]).await;
    let shown = stdout(&shown);
    assert!(
        shown.starts_with("suppressed: bounce since 2026-03-14T"),
        "{shown}"
    );
}

#[tokio::test]
async fn commands_suppress_show_and_remove_an_address() {
    let app = TestApp::new().await;
    app.subscriber("ada").await;
    let emails = async |args: &[&str]| {
        let output = run(&app.settings, &[&["emails"], args].concat()).await;
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, shown, _) = emails(&["show", "--email", ADA]).await;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        (code, &lines[..2]),
        (Some(0), &["suppressed: no", "product_news: on"][..])
    );
    assert_eq!(lines.len(), 1 + OptionalKind::ALL.len(), "{shown}");
    for address in [ADA, "nobody@example.com"] {
        let suppress = ["suppress", "--email", address, "--reason", "complaint"];
        let (code, told, _) = emails(&suppress).await;
        assert_eq!(
            (code, told.as_str()),
            (Some(0), "the address is suppressed\n")
        );
        let (code, told, _) = emails(&suppress).await;
        let again = "the address was suppressed before\n";
        assert_eq!((code, told.as_str()), (Some(0), again));
    }
    let (_, shown, _) = emails(&["show", "--email", ADA]).await;
    assert!(shown.starts_with("suppressed: complaint since "), "{shown}");
    assert!(!shown.contains(": on\n"), "{shown}");
    for (status, event) in [(0, 1), (1, 1)] {
        let (code, ..) = emails(&["unsuppress", "--email", "ADA@example.com"]).await;
        assert_eq!(code, Some(status));
        assert_eq!(app.audited("email_unsuppressed").await, event);
    }
    assert_eq!(app.audited("email_suppressed").await, 2);
    let (code, _, error) = emails(&["suppress", "--email", "ada", "--reason", "bounce"]).await;
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = emails(&["suppress", "--email", ADA, "--reason", "x"]).await;
    assert_eq!(code, Some(2), "{error}");
}

#[tokio::test]
async fn an_entry_names_nobody_and_is_deleted_after_its_time() {
    let app = TestApp::with(&[("MAIL_SUPPRESSION_RETENTION", "30d")]).await;
    app.sign_up("ada").await;
    report(&app, SuppressionReason::Bounce).await;
    let count = async |sql: &'static str| -> i64 {
        let count = sqlx::query_scalar(sql).fetch_one(&app.owner_db);
        count.await.expect("they are counted")
    };
    let hashed =
        "SELECT count(*) FROM email_suppressions WHERE address_hash = sha256('ada@example.com')";
    assert_eq!(count(hashed).await, 0, "the hash has a key");
    let (old, new) = (
        &app.settings["TOKEN_SECRET"],
        "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8",
    );
    for (ring, found) in [(format!("{new},{old}"), 1), (new.to_owned(), 0)] {
        let replica = app.another_replica_with(&[("TOKEN_SECRET", &ring)]).await;
        let listed = list_suppressions(&replica.state, &replica.state.db, ADA).await;
        assert_eq!(listed.expect("they are read").len(), found);
    }
    for (days, left) in [(29, 1), (2, 0)] {
        app.clock.advance(Duration::from_hours(24 * days));
        job_queue::enqueue(&app.state.db, &PurgeSuppressions::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
        assert_eq!(count("SELECT count(*) FROM email_suppressions").await, left);
    }
}
