//! Acts on invitations at once. The row of the organisation's account is held until they all wait for it, so that they
//! read what was before any of them.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;
use sqlx::Connection as _;

use super::{ACCEPT, Organisation, by_token, token_to};
use crate::harness::{Session, TestApp};

/// Runs `acts` while the account's row is locked, until `waiting` of them wait for a lock.
async fn while_locked<T>(
    app: &TestApp,
    organisation: &Organisation,
    waiting: i64,
    acts: impl Future<Output = T>,
) -> T {
    let mut owner = app.owner().await;
    let mut tx = owner.begin().await.expect("it begins");
    sqlx::query("SELECT FROM accounts WHERE id = $1::text::uuid FOR UPDATE")
        .bind(&organisation.id)
        .execute(&mut *tx)
        .await
        .expect("the row is locked");
    let release = async {
        let mut found = 0;
        for _ in 0..800 {
            found = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted");
            if found >= waiting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        tx.rollback().await.expect("it ends");
        assert!(found >= waiting, "only {found} wait");
    };
    join(acts, release).await.0
}

#[tokio::test]
async fn of_twenty_who_accept_at_once_five_get_the_five_seats() {
    let app = TestApp::with(&[
        ("PLAN_FREE_SEATS", "0"),
        ("LIMIT_INVITATIONS", "1000/1h"),
        ("DB_POOL_SIZE", "8"),
    ])
    .await;
    let acme = Organisation::new(&app, "ada").await;
    let few = app.another_replica_with(&[("PLAN_FREE_SEATS", "6")]).await;
    let mut invited = Vec::new();
    for n in 0..20 {
        let name = format!("user{n}");
        let session = app.sign_in(&name).await;
        let id = acme.invite(&format!("{name}@example.com"), "member").await;
        let session = Session {
            replica: few.clone(),
            tokens: session.tokens,
        };
        invited.push((session, id));
    }
    app.run_jobs().await;
    let accept = invited
        .iter()
        .map(|(session, id)| session.post(ACCEPT, json!({ "id": id })));
    let answers = while_locked(&app, &acme, 6, join_all(accept)).await;
    let (joined, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
    assert_eq!((joined.len(), acme.members(&app).await), (5, 6));
    for answer in refused {
        answer.assert_problem(409, "no_seats");
    }
    assert_eq!(app.audited("member_joined").await, 5);
    // Those who were refused can accept once there are seats.
    assert_eq!(acme.list().await.len(), 15);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_address_that_is_invited_twenty_times_at_once_has_one_invitation_and_one_email() {
    let app = TestApp::with(&[
        ("LIMIT_INVITATIONS", "1000/1h"),
        ("LIMIT_EMAIL", "2/1h"),
        ("DB_POOL_SIZE", "8"),
    ])
    .await;
    let acme = Organisation::new(&app, "ada").await;
    let invite = (0..20).map(|_| acme.try_invite("grace@example.com", "member"));
    let answers = while_locked(&app, &acme, 6, join_all(invite)).await;
    for answer in answers {
        answer.assert_status(201);
    }
    assert_eq!(acme.list().await.len(), 1);
    let token = token_to(&app, "grace@example.com").await;
    assert_eq!(app.inbox.emails_to("grace@example.com").len(), 1);
    let preview = app.post(super::PREVIEW, by_token(&token)).await;
    preview.assert_status(200);
}

#[tokio::test]
async fn twenty_who_are_invited_at_once_get_no_more_seats_than_there_are() {
    let app = TestApp::with(&[
        ("PLAN_FREE_SEATS", "4"),
        ("LIMIT_INVITATIONS", "1000/1h"),
        ("DB_POOL_SIZE", "8"),
    ])
    .await;
    let acme = Organisation::new(&app, "ada").await;
    let emails: Vec<_> = (0..20).map(|n| format!("user{n}@example.com")).collect();
    let invite = emails.iter().map(|email| acme.try_invite(email, "member"));
    let answers = while_locked(&app, &acme, 6, join_all(invite)).await;
    let invited = answers.iter().filter(|it| it.status == 201).count();
    assert_eq!((invited, acme.list().await.len()), (3, 3));
    app.run_jobs().await;
}

#[tokio::test]
async fn an_invitation_that_is_accepted_twice_at_once_makes_one_member() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    let grace = app.sign_in("grace").await;
    let id = acme.invite("grace@example.com", "member").await;
    let token = token_to(&app, "grace@example.com").await;
    let both = join(
        grace.post(ACCEPT, by_token(&token)),
        grace.post(ACCEPT, json!({ "id": id })),
    );
    let (one, other) = while_locked(&app, &acme, 2, both).await;
    let (joined, refused) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    joined.assert_status(200);
    refused.assert_problem(422, "invalid_invitation");
    assert_eq!(acme.members(&app).await, 2);
    assert_eq!(app.audited("member_joined").await, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_invitation_that_is_revoked_while_it_is_accepted_is_one_of_both() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    let grace = app.sign_in("grace").await;
    let id = acme.invite("grace@example.com", "member").await;
    app.run_jobs().await;
    let both = join(grace.post(ACCEPT, json!({ "id": id })), acme.revoke(&id));
    let (accepted, revoked) = while_locked(&app, &acme, 2, both).await;
    let members = acme.members(&app).await;
    let [joined, withdrawn] = [
        app.audited("member_joined").await,
        app.audited("invitation_revoked").await,
    ];
    if accepted.status == 200 {
        revoked.assert_problem(404, "not_found");
        assert_eq!((members, joined, withdrawn), (2, 1, 0));
    } else {
        accepted.assert_problem(422, "invalid_invitation");
        revoked.assert_status(204);
        assert_eq!((members, joined, withdrawn), (1, 0, 1));
    }
    app.run_jobs().await;
}
