//! Refresh tokens: one row that is updated in place, tokens of the release before,
//! lost rotations, and a change of `TOKEN_SECRET`.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use clock::Rng;
use crypto::Key32;
use futures_util::future::join_all;
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, Replica, Session, TestApp, hex};

const LEGACY: [(&str, &str); 1] = [("LEGACY_REFRESH_TOKENS", "true")];

fn token(answer: &Answer) -> String {
    answer.assert_status(200);
    let token = answer.body["refresh_token"].as_str();
    token.expect("there is a refresh token").to_owned()
}

async fn count(app: &TestApp, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts")
}

const LIVING: &str = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
const LEGACY_ROWS: &str = "SELECT count(*) FROM refresh_tokens";

/// The one token that `tabs` calls at once get for this one.
async fn one_successor(replicas: [&Replica; 2], used: &str, tabs: usize) -> String {
    let calls = (0..tabs).map(|tab| replicas[tab % 2].refresh(used));
    let tokens: HashSet<_> = join_all(calls).await.iter().map(token).collect();
    assert_eq!(tokens.len(), 1, "there is one chain");
    tokens.into_iter().next().expect("there is one")
}

#[tokio::test]
async fn a_rotation_is_one_heap_only_update_of_the_sessions_row() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut last = ada.refresh_token().to_owned();
    for _ in 0..40 {
        app.clock.advance(Duration::from_secs(1));
        last = token(&app.replica.refresh(&last).await);
    }
    let stats = "SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'";
    let mut found = (0, 0, 0);
    for _ in 0..1_200 {
        found = sqlx::query_as(stats)
            .fetch_one(&mut app.owner().await)
            .await
            .expect("it tells");
        if found.1 >= 40 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (inserted, updated, heap_only): (i64, i64, i64) = found;
    assert_eq!(
        (inserted, updated),
        (1, 40),
        "one row, and one update a rotation"
    );
    assert!(
        heap_only >= 39,
        "{heap_only} of {updated} updates are heap-only"
    );
    assert_eq!(count(&app, LEGACY_ROWS).await, 0);
}

#[tokio::test]
async fn a_token_is_made_neither_of_the_database_nor_of_a_token_that_is_changed() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let newest = token(&app.replica.refresh(ada.refresh_token()).await);
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(&newest)
        .expect("it is base64url");
    assert_eq!(bytes.len(), 84);
    let row: String = sqlx::query_scalar("SELECT sessions::text FROM sessions")
        .fetch_one(&app.owner_db)
        .await
        .expect("it is there");
    for part in [&bytes[20..52], &bytes[52..]] {
        assert!(!row.contains(&hex(part)), "neither seed nor tag is stored");
    }

    app.clock.advance(Duration::from_secs(30));
    let [earlier, later, stranger, tampered] =
        [(19, 1), (19, 2), (0, 1), (60, 1)].map(|(at, bit)| {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            BASE64_URL_SAFE_NO_PAD.encode(changed)
        });
    for forged in [earlier, later, stranger, tampered, "A".repeat(112)] {
        let answer = app.replica.refresh(&forged).await;
        answer.assert_problem(401, "invalid_refresh_token");
    }
    assert_eq!(app.audited("refresh_token_reused").await, 0);
    token(&app.replica.refresh(&newest).await);
}

#[tokio::test]
async fn somebody_further_behind_than_the_row_remembers_is_refused_and_nothing_ends() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let first = ada.refresh_token().to_owned();
    let mut all = vec![first.clone()];
    for _ in 0..18 {
        let next = token(&app.replica.refresh(all.last().expect("there is one")).await);
        all.push(next);
    }
    let newest = all.last().expect("there is one").clone();
    let late = app.replica.refresh(&all[2]).await;
    assert_eq!(token(&late), newest, "sixteen generations behind");
    let later = app.replica.refresh(&first).await;
    later.assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 0);
    token(&app.replica.refresh(&newest).await);

    app.clock.advance(Duration::from_secs(11));
    let reused = app.replica.refresh(&first).await;
    reused.assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 1);
}

#[tokio::test]
async fn each_generation_is_in_grace_from_its_own_rotation_on() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let second = token(&app.replica.refresh(ada.refresh_token()).await);
    app.clock.advance(Duration::from_secs(6));
    let third = token(&app.replica.refresh(&second).await);
    app.clock.advance(Duration::from_secs(4));
    let oldest = app.replica.refresh(ada.refresh_token()).await;
    assert_eq!(token(&oldest), third, "ten seconds are within the grace");
    app.clock.advance(Duration::from_secs(5));
    assert_eq!(token(&app.replica.refresh(&second).await), third);
    let reused = app.replica.refresh(ada.refresh_token()).await;
    reused.assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 1);
}

#[tokio::test]
async fn a_database_that_has_forgotten_rotations_signs_nobody_out_and_reuse_is_still_seen() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let second = token(&app.replica.refresh(ada.refresh_token()).await);
    let kept: (i32, Vec<u8>, Vec<DateTime<Utc>>) =
        sqlx::query_as("SELECT generation, token_hash, rotations FROM sessions")
            .fetch_one(&app.owner_db)
            .await
            .expect("it is there");
    let third = token(&app.replica.refresh(&second).await);
    let fourth = token(&app.replica.refresh(&third).await);
    sqlx::query("UPDATE sessions SET generation = $1, token_hash = $2, rotations = $3")
        .bind(kept.0)
        .bind(kept.1)
        .bind(kept.2)
        .execute(&app.owner_db)
        .await
        .expect("it is restored");

    let other = app.another_replica().await;
    let fifth = one_successor([&app.replica, &other], &fourth, 20).await;
    assert_ne!(fifth, fourth);
    app.clock.advance(Duration::from_secs(11));
    let reused = app.replica.refresh(&third).await;
    reused.assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.audited("refresh_token_reused").await, 1);
    assert_eq!(count(&app, LIVING).await, 0);
}

#[tokio::test]
async fn tabs_that_race_on_a_token_of_the_release_before_get_one_successor() {
    let app = TestApp::with(&LEGACY).await;
    let next = app
        .another_replica_with(&[("LEGACY_REFRESH_TOKENS", "false")])
        .await;
    let ada = app.sign_in("ada").await;
    assert_eq!(ada.refresh_token().len(), 43);
    let elsewhere = app.log_in("ada@example.com").await;

    let converted = one_successor([&next, &next], ada.refresh_token(), 20).await;
    assert_eq!(converted.len(), 112);
    // A replica that still issues tokens of the release before finds the same one, and keeps it.
    let late = app.replica.refresh(ada.refresh_token()).await;
    assert_eq!(token(&late), converted);
    let third = one_successor([&app.replica, &next], &converted, 20).await;
    assert_eq!(third.len(), 112);
    let late = next.refresh(ada.refresh_token()).await;
    assert_eq!(token(&late), third, "two generations behind");
    let session = Session {
        replica: app.replica.clone(),
        tokens: late.body,
    };
    assert!(session.is_signed_in().await);

    let both = one_successor([&app.replica, &next], elsewhere.refresh_token(), 20).await;
    app.clock.advance(Duration::from_secs(11));
    for replica in [&app.replica, &next] {
        let reused = replica.refresh(ada.refresh_token()).await;
        reused.assert_problem(401, "invalid_refresh_token");
    }
    assert_eq!(app.audited("refresh_token_reused").await, 1);
    next.refresh(&third)
        .await
        .assert_problem(401, "invalid_refresh_token");
    token(&next.refresh(&both).await);
    assert_eq!(count(&app, LIVING).await, 1);
}

#[tokio::test]
async fn what_is_issued_for_the_release_before_is_a_row_that_it_reads() {
    let app = TestApp::with(&LEGACY).await;
    let ada = app.sign_in("ada").await;
    let mut last = ada.refresh_token().to_owned();
    for rotations in 1..=3 {
        app.clock.advance(Duration::from_mins(1));
        last = token(&app.replica.refresh(&last).await);
        let living = "SELECT count(*) FROM refresh_tokens JOIN sessions ON sessions.id = session_id
            WHERE rotated_at IS NULL AND sessions.token_hash IS NULL AND generation = 0";
        assert_eq!(count(&app, living).await, 1);
        assert_eq!(count(&app, LEGACY_ROWS).await, rotations + 1);
    }
    // A chain of several, converted at its end, is walked from its beginning.
    let next = app
        .another_replica_with(&[("LEGACY_REFRESH_TOKENS", "false")])
        .await;
    let sooner = token(&app.replica.refresh(&last).await);
    let converted = token(&next.refresh(&sooner).await);
    assert_eq!(token(&next.refresh(&last).await), converted);
    app.clock.advance(Duration::from_hours(24 * 14));
    for expired in [&converted, &sooner] {
        let answer = next.refresh(expired).await;
        answer.assert_problem(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn a_token_of_the_release_before_ends_its_session_and_no_other() {
    let app = TestApp::with(&LEGACY).await;
    let ada = app.sign_in("ada").await;
    let next = app
        .another_replica_with(&[("LEGACY_REFRESH_TOKENS", "false")])
        .await;
    let converted = token(&next.refresh(ada.refresh_token()).await);
    let grace = app.sign_in("grace").await;
    let named = serde_json::json!({ "refresh_token": ada.refresh_token() });
    app.post("/api/v1/auth/logout", named)
        .await
        .assert_status(204);
    next.refresh(&converted)
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert!(grace.is_signed_in().await);
    token(&next.refresh(grace.refresh_token()).await);
}

/// A replica with this ring.
async fn with_ring(app: &TestApp, ring: &[&str]) -> Replica {
    app.another_replica_with(&[("TOKEN_SECRET", &ring.join(","))])
        .await
}

#[tokio::test]
async fn second_tabs_get_the_same_successor_at_every_step_of_a_change_of_the_secret() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let old = app.settings["TOKEN_SECRET"].clone();
    let new = Key32::new(Rng::system().bytes()).encode();
    let rings = [
        vec![old.as_str()],
        vec![&old, &new],
        vec![&new, &old],
        vec![&new],
    ];
    let mut last = ada.refresh_token().to_owned();
    for pair in rings.windows(2) {
        // Half way through a rolling restart: one replica as before, one as after.
        let (before, after) = (
            with_ring(&app, &pair[0]).await,
            with_ring(&app, &pair[1]).await,
        );
        for round in 0..4 {
            app.clock.advance(Duration::from_mins(1));
            let [one, other] = if round % 2 == 0 {
                [&before, &after]
            } else {
                [&after, &before]
            };
            let used = last;
            last = token(&one.refresh(&used).await);
            assert_eq!(
                token(&other.refresh(&used).await),
                last,
                "{} keys",
                pair[1].len()
            );
            let next = one_successor([one, other], &last, 20).await;
            last = next;
        }
        // The next step comes when nothing in grace depends on the key before.
        app.clock.advance(Duration::from_mins(1));
        last = token(&after.refresh(&last).await);
    }
    assert_eq!(app.audited("refresh_token_reused").await, 0);
}

#[tokio::test]
async fn a_secret_that_is_replaced_at_once_ends_no_session() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let new = Key32::new(Rng::system().bytes()).encode();
    let next = with_ring(&app, &[&new]).await;
    let second = token(&app.replica.refresh(ada.refresh_token()).await);
    // Whoever lost that reply cannot be told the token, which the new key does not make.
    let lost = next.refresh(ada.refresh_token()).await;
    lost.assert_problem(401, "invalid_refresh_token");
    let third = token(&next.refresh(&second).await);
    app.clock.advance(Duration::from_mins(1));
    token(&next.refresh(&third).await);
    assert_eq!(app.audited("refresh_token_reused").await, 0);
    assert_eq!(count(&app, LIVING).await, 1);
}
