//! Twenty at once, through two replicas.

use futures_util::future::join_all;

use super::{Key, wanted};
use crate::harness::{Session, TestApp};

/// The session on two replicas, in turns.
async fn both(app: &TestApp, session: &Session) -> [Session; 2] {
    [app.replica.clone(), app.another_replica().await].map(|replica| Session {
        replica,
        tokens: session.tokens.clone(),
    })
}

#[tokio::test]
async fn twenty_at_once_get_no_more_keys_than_an_account_may_have() {
    let mut app = TestApp::with(&[
        ("API_KEY_MAX_COUNT", "3"),
        ("PASSWORD_QUEUE_TIMEOUT", "20s"),
        ("DB_LOCK_TIMEOUT", "20s"),
    ])
    .await;
    let ada = app.sign_in("ada").await;
    let sessions = both(&app, &ada).await;
    let answers =
        join_all((0..20).map(|n| sessions[n % 2].post(super::KEYS, wanted(&["read"])))).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), ada.keys().await.len()), (3, 3));
    for answer in refused {
        answer.assert_problem(409, "too_many_api_keys");
    }
    assert_eq!(app.audited("api_key_created").await, 3);
    // A revoked key makes room, and so does one that expired.
    ada.revoke(&Key::of(made[0]).id).await.assert_status(204);
    ada.new_key(&["read"]).await;
    ada.post(super::KEYS, wanted(&["read"]))
        .await
        .assert_problem(409, "too_many_api_keys");
    app.clock.advance(365 * super::DAY);
    let ada = app.log_in("ada@example.com").await;
    ada.new_key(&["read"]).await;
    // Somebody else's keys do not count.
    app.sign_in("grace").await.new_key(&["read"]).await;
    app.expect_dead_jobs();
}

#[tokio::test]
async fn of_twenty_who_rotate_a_key_one_does() {
    let app = TestApp::with(&[
        ("PASSWORD_QUEUE_TIMEOUT", "20s"),
        ("DB_LOCK_TIMEOUT", "20s"),
    ])
    .await;
    let ada = app.sign_in("ada").await;
    let first = ada.new_key(&["read"]).await;
    let sessions = both(&app, &ada).await;
    let answers = join_all((0..20).map(|n| sessions[n % 2].rotate(&first.id, None))).await;
    let (rotated, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(rotated.len(), 1);
    for answer in refused {
        answer.assert_problem(409, "conflict");
    }
    for key in [&first, &Key::of(rotated[0])] {
        assert!(key.opens(&app.replica).await);
    }
    assert_eq!(app.audited("api_key_rotated").await, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn of_twenty_who_revoke_a_key_one_does() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read"]).await;
    let sessions = both(&app, &ada).await;
    let answers = join_all((0..20).map(|n| sessions[n % 2].revoke(&key.id))).await;
    let done = answers.iter().filter(|answer| answer.status == 204).count();
    assert_eq!((done, app.audited("api_key_revoked").await), (1, 1));
    app.run_jobs().await;
}
