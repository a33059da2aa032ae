//! Changes to organisations at the same time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ORGANISATIONS;
use crate::harness::{Answer, Session, TestApp, fastest, given};

fn uuid(id: &str) -> Uuid {
    id.parse().expect("it is an id")
}

/// Waits until so many statements wait for a lock.
pub async fn until_waiting(observer: &mut PgConnection, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let began = Instant::now();
    loop {
        let found: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&mut *observer)
            .await
            .expect("it is reported");
        if found >= count {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{found} wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the requests while these accounts are locked, and unlocks them when so many requests wait.
async fn at_once<F: Future<Output = Answer>>(
    app: &TestApp,
    accounts: &[Uuid],
    waiting: i64,
    requests: Vec<F>,
) -> Vec<Answer> {
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    sqlx::query("SELECT id FROM accounts WHERE id = ANY ($1) FOR UPDATE")
        .bind(accounts)
        .fetch_all(&mut *held)
        .await
        .expect("they are locked");
    let release = async {
        until_waiting(&mut observer, waiting).await;
        held.commit().await.expect("they are unlocked");
    };
    let (answers, ()) = tokio::join!(join_all(requests), release);
    answers
}

async fn owners(app: &TestApp, organisation: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM memberships WHERE account_id = $1 AND role = 'owner'")
        .bind(uuid(organisation))
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted")
}

#[tokio::test]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "owner").await;
    let requests = vec![ada.leave(&acme), bob.leave(&acme)];
    let answers = at_once(&app, &[uuid(&acme)], 2, requests).await;
    let (left, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 204);
    assert_eq!((left.len(), owners(&app, &acme).await), (1, 1));
    refused[0].assert_problem(409, "last_owner");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_transfer_to_a_member_who_leaves_at_once_keeps_an_owner() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "admin").await;
    let bob_id = bob.user_id().await;
    let call = async |is_transfer: bool| {
        if is_transfer {
            ada.transfer(&acme, &bob_id).await
        } else {
            bob.leave(&acme).await
        }
    };
    let requests = vec![call(true), call(false)];
    let answers = at_once(&app, &[uuid(&acme)], 2, requests).await;
    assert_eq!(owners(&app, &acme).await, 1);
    if answers[0].status.is_success() {
        answers[1].assert_problem(409, "last_owner");
    } else {
        answers[0].assert_problem(404, "not_found");
        answers[1].assert_status(204);
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_slug_that_two_claim_at_once_goes_to_one_of_them() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.sign_in("ada").await, app.sign_in("bob").await);
    let accounts = [uuid(&ada.user_id().await), uuid(&bob.user_id().await)];
    let body = || serde_json::json!({ "name": "Acme", "slug": "acme" });
    let requests = vec![
        ada.post(ORGANISATIONS, body()),
        bob.post(ORGANISATIONS, body()),
    ];
    let answers = at_once(&app, &accounts, 2, requests).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!(made.len(), 1);
    refused[0].assert_problem(409, "slug_taken");
    assert_eq!(refused[0].body["errors"][0]["field"], "slug");
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn users_who_create_at_once_own_no_more_than_their_plan_includes() {
    let app = TestApp::with(&[("PLAN_FREE_ORGANISATIONS", "2")]).await;
    let ada = app.sign_in("ada").await;
    ada.new_organisation("first").await;
    let personal = uuid(&ada.user_id().await);
    let create = async |slug: &str| {
        let body = serde_json::json!({ "name": "Acme", "slug": slug });
        ada.post(ORGANISATIONS, body).await
    };
    let requests = vec![create("second"), create("third"), create("fourth")];
    let answers = at_once(&app, &[personal], 3, requests).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!((made.len(), refused.len()), (1, 2));
    for answer in refused {
        answer.assert_problem(409, "too_many_organisations");
    }
}

/// A transaction that takes an owner away in SQL, whatever the service would say.
async fn demote(conn: &mut PgConnection, organisation: &str, user: &Session) {
    let demoted = sqlx::query(
        "UPDATE memberships SET role = 'member' WHERE account_id = $1 AND user_id = $2",
    )
    .bind(uuid(organisation))
    .bind(uuid(&user.user_id().await))
    .execute(conn)
    .await;
    assert_eq!(demoted.expect("it is written").rows_affected(), 1);
}

#[tokio::test]
async fn the_database_refuses_to_commit_what_leaves_no_owner() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "owner").await;
    // Neither transaction sees the change of the other before it commits.
    let (mut one, mut two) = (app.owner().await, app.owner().await);
    let (mut first, mut second) = (
        one.begin().await.expect("it begins"),
        two.begin().await.expect("it begins"),
    );
    demote(&mut first, &acme, &ada).await;
    demote(&mut second, &acme, &bob).await;
    let (first, second) = tokio::join!(first.commit(), second.commit());
    let failed: Vec<_> = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let constraint = failed[0].as_database_error().and_then(|it| it.constraint());
    assert_eq!(constraint, Some("memberships_owner_check"));
    assert_eq!(owners(&app, &acme).await, 1);

    // Nor when the last owner's user is deleted; the deletion of the organisation is no obstacle.
    let sole = "DELETE FROM users WHERE id IN (
        SELECT user_id FROM memberships WHERE account_id = $1 AND role = 'owner')";
    let delete = || sqlx::query(sole).bind(uuid(&acme)).execute(&app.owner_db);
    let error = delete().await.expect_err("an owner stays");
    let constraint = error.as_database_error().and_then(|it| it.constraint());
    assert_eq!(constraint, Some("memberships_owner_check"));
    sqlx::query("UPDATE accounts SET deleted_at = now() WHERE id = $1")
        .bind(uuid(&acme))
        .execute(&app.owner_db)
        .await
        .expect("it is deleted");
    assert_eq!(
        delete().await.expect("nothing is broken").rows_affected(),
        1
    );
}

#[tokio::test]
async fn a_removal_holds_on_another_replica_within_a_second() {
    let redis = given("TEST_REDIS_URL");
    let app = TestApp::with(&[("REDIS_URL", &redis)]).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "member").await;
    let bob_id = bob.user_id().await;
    let other = app.another_replica().await;
    let stop = CancellationToken::new();
    for state in [&app.state, &other.state] {
        tokio::spawn(state.cache.clone().listen(stop.clone()));
    }
    while !(app.state.cache.is_listening() && other.state.cache.is_listening()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let there = Session {
        replica: other,
        tokens: bob.tokens.clone(),
    };
    let path = format!("{ORGANISATIONS}/acme");
    let second = Duration::from_secs(1);
    let took = fastest(second, async || {
        there.get(&path).await.assert_status(200);
        ada.remove_member(&acme, &bob_id).await.assert_status(204);
        let removed = Instant::now();
        while there.get(&path).await.status != 404 {
            assert!(removed.elapsed() < Duration::from_secs(15));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = removed.elapsed();
        let invited = ada.invite(&acme, "bob@example.com", "member").await;
        invited.assert_status(201);
        let id = invited.body["id"].as_str().expect("an id");
        bob.accept(id).await.assert_status(200);
        took
    })
    .await;
    assert!(took < second, "it took {took:?}");
    stop.cancel();
    app.run_jobs().await;
}
