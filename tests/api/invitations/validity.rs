//! What is no valid invitation, and how long one is valid.

use groundwork::organisations::PurgeOrganisations;
use serde_json::{Value, json};

use super::{ACCEPT, DAY, OWN, Organisation, PREVIEW, by_token, token_to};
use crate::harness::{Answer, PASSWORD, Session, TestApp};

/// Status and body, without what differs in every response.
fn shape(mut answer: Answer) -> (u16, Value) {
    answer.body["request_id"].take();
    (answer.status.as_u16(), answer.body)
}

/// Accepts what is not valid.
async fn reject(session: &Session, acceptance: Value) -> (u16, Value) {
    let answer = session.post(ACCEPT, acceptance).await;
    answer.assert_problem(422, "invalid_invitation");
    shape(answer)
}

#[tokio::test]
async fn all_invitations_that_are_not_valid_are_one_problem() {
    let app = TestApp::with(&[("PLAN_FREE_SEATS", "0")]).await;
    let acme = Organisation::new(&app, "ada").await;
    let grace = app.sign_in("grace").await;
    let email = "grace@example.com";
    let mut seen = Vec::new();

    // Unknown.
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    seen.push(reject(&grace, by_token(unknown)).await);
    let nobodys = json!({ "id": "01980b6e-7c00-7000-8000-3f2a51d6c9b1" });
    seen.push(reject(&grace, nobodys).await);
    // Another's.
    let others = acme.invite("joan@example.com", "member").await;
    let token = token_to(&app, "joan@example.com").await;
    seen.push(reject(&grace, by_token(&token)).await);
    seen.push(reject(&grace, json!({ "id": others })).await);
    // Revoked.
    let id = acme.invite(email, "member").await;
    let token = token_to(&app, email).await;
    acme.revoke(&id).await.assert_status(204);
    seen.push(reject(&grace, by_token(&token)).await);
    seen.push(reject(&grace, json!({ "id": id })).await);
    // Replaced by another one, before and after its email.
    acme.invite(email, "member").await;
    let first = token_to(&app, email).await;
    let replaced = acme.invite(email, "admin").await;
    seen.push(reject(&grace, by_token(&first)).await);
    app.run_jobs().await;
    seen.push(reject(&grace, by_token(&first)).await);
    // Sent again.
    let second = token_to(&app, email).await;
    acme.resend(&replaced).await.assert_status(202);
    let third = token_to(&app, email).await;
    assert_ne!(second, third);
    seen.push(reject(&grace, by_token(&second)).await);
    // Not verified any more.
    let sql = "UPDATE users SET email_verified_at = $1 WHERE email = $2";
    let verify = async |at: Option<chrono::DateTime<chrono::Utc>>| {
        let done = sqlx::query(sql).bind(at).bind(email).execute(&app.owner_db);
        done.await.expect("it is changed");
    };
    verify(None).await;
    seen.push(reject(&grace, by_token(&third)).await);
    verify(Some(app.clock.now())).await;
    // Used.
    let joined = grace.post(ACCEPT, by_token(&third)).await;
    joined.assert_status(200);
    assert_eq!(joined.body["role"], "admin");
    seen.push(reject(&grace, by_token(&third)).await);
    seen.push(reject(&grace, json!({ "id": replaced })).await);
    // Expired.
    let old = acme.invite("joan@example.com", "member").await;
    let token = token_to(&app, "joan@example.com").await;
    app.clock.advance(7 * DAY);
    let joan = app.sign_in("joan").await;
    seen.push(reject(&joan, by_token(&token)).await);
    seen.push(reject(&joan, json!({ "id": old })).await);
    assert_eq!(joan.get(OWN).await.body["items"], json!([]));
    // Of a deleted organisation.
    let acme = Organisation {
        owner: app.log_in("ada@example.com").await,
        ..acme
    };
    acme.invite("joan@example.com", "member").await;
    let token = token_to(&app, "joan@example.com").await;
    let path = format!("/api/v1/organisations/{}", acme.id);
    let body = Some(json!({ "password": PASSWORD }));
    let access = Some(acme.owner.access());
    let call = app
        .replica
        .call(reqwest::Method::DELETE, &path, access, body);
    call.await.assert_status(204);
    seen.push(reject(&joan, by_token(&token)).await);
    app.run_jobs().await;

    for (at, other) in seen.iter().enumerate() {
        assert_eq!(*other, seen[0], "case {at}");
    }
    let preview = app.post(PREVIEW, by_token(&token)).await;
    preview.assert_problem(422, "invalid_invitation");
    assert_eq!(acme.members(&app).await, 2);
    assert_eq!(app.audited("member_joined").await, 1);
}

#[tokio::test]
async fn an_acceptance_names_a_token_or_an_id() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    for body in [
        json!({}),
        json!({ "id": id, "token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        json!({ "token": "short" }),
        json!({ "id": "1" }),
    ] {
        let answer = ada.post(ACCEPT, body).await;
        answer.assert_problem(422, "invalid_fields");
    }
    app.post(ACCEPT, json!({ "id": id }))
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_invitation_of_a_member_is_used_up_and_changes_nothing() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    let grace = acme.add_member(&app, "grace", "read_only").await;
    let joan = acme.invite("joan@example.com", "admin").await;
    app.run_jobs().await;
    app.inbox.clear();
    // The member takes over the invited address.
    sqlx::query("UPDATE users SET email = 'joan@example.com' WHERE email = 'grace@example.com'")
        .execute(&app.owner_db)
        .await
        .expect("it is changed");
    let answer = grace.post(ACCEPT, json!({ "id": joan })).await;
    answer.assert_status(200);
    assert_eq!(answer.body["role"], "read_only", "{}", answer.body);
    assert_eq!(acme.list().await, [Value::Null; 0]);
    assert_eq!(acme.members(&app).await, 2);
    assert_eq!(app.audited("member_joined").await, 1);
    app.run_jobs().await;
    assert_eq!(app.inbox.messages().len(), 0);
}

#[tokio::test]
async fn expired_invitations_are_purged_after_thirty_days() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    acme.invite("grace@example.com", "member").await;
    app.run_jobs().await;
    for (days, left) in [(36, 1), (2, 0)] {
        app.clock.advance(days * DAY);
        job_queue::enqueue(&app.state.db, &PurgeOrganisations {}, None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
        let acme = Organisation {
            owner: app.log_in("ada@example.com").await,
            id: acme.id.clone(),
        };
        assert_eq!(acme.list().await.len(), left, "after {days} more days");
    }
}

#[tokio::test]
async fn emails_with_invitations_are_limited_by_mailbox_and_the_response_is_the_same() {
    let app = TestApp::with(&[("LIMIT_EMAIL", "1/1h")]).await;
    let acme = Organisation::new(&app, "ada").await;
    let other = Organisation::of(app.log_in("ada@example.com").await, "other").await;
    for organisation in [&acme, &other] {
        organisation.invite("grace@example.com", "member").await;
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.emails_to("grace@example.com").len(), 1);
}
