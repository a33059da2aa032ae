//! Replicas whose own clocks differ.

use std::time::Duration;

use chrono::TimeDelta;
use clock::Clock;

use crate::harness::{Replica, Session, TestApp};

/// Clock differences of the earlier replica and of this one, in seconds.
const SKEWS: [i64; 5] = [20, -20, 600, -600, 5];

/// A replica whose system clock is off by this much, and that has asked the database once.
async fn skewed(app: &TestApp, seconds: i64) -> Replica {
    let clock = Clock::database_skewed(TimeDelta::seconds(seconds));
    let replica = app.another_replica_at(clock).await;
    replica.state.heartbeat.synchronize().await;
    replica
}

/// Lets the rotations of all sessions be so long ago.
async fn age_rotations(app: &TestApp, seconds: i64) {
    let older = "UPDATE sessions SET rotations = ARRAY(SELECT at - make_interval(secs => $1) FROM unnest(rotations) AS at)";
    sqlx::query(older)
        .bind(f64::from(i32::try_from(seconds).expect("it is small")))
        .execute(&app.owner_db)
        .await
        .expect("they are set back");
}

#[tokio::test]
async fn replicas_whose_clocks_differ_agree_on_what_is_within_the_grace() {
    let app = TestApp::with_clock(&[], Clock::database()).await;
    app.state.heartbeat.synchronize().await;
    app.sign_up("ada").await;
    for seconds in SKEWS {
        let other = skewed(&app, seconds).await;
        for [first, second] in [[&app.replica, &other], [&other, &app.replica]] {
            let ada = app.log_in("ada@example.com").await;
            let one = first.refresh(ada.refresh_token()).await;
            one.assert_status(200);
            let again = second.refresh(ada.refresh_token()).await;
            again.assert_status(200);
            assert_eq!(
                again.body["refresh_token"], one.body["refresh_token"],
                "{seconds} s"
            );
            assert_eq!(app.audited("refresh_token_reused").await, 0, "{seconds} s");
            for replica in [first, second] {
                let session = Session {
                    replica: replica.clone(),
                    tokens: again.body.clone(),
                };
                assert!(session.is_signed_in().await, "{seconds} s");
            }
        }
    }
}

#[tokio::test]
async fn a_replica_whose_clock_is_behind_still_sees_reuse_after_the_grace() {
    let app = TestApp::with_clock(&[], Clock::database()).await;
    app.state.heartbeat.synchronize().await;
    app.sign_up("ada").await;
    for (before, seconds) in (0..).zip(SKEWS) {
        let other = skewed(&app, seconds).await;
        let ada = app.log_in("ada@example.com").await;
        app.replica
            .refresh(ada.refresh_token())
            .await
            .assert_status(200);
        age_rotations(&app, 11).await;
        assert_eq!(app.audited("refresh_token_reused").await, before);
        other
            .refresh(ada.refresh_token())
            .await
            .assert_problem(401, "invalid_refresh_token");
        assert_eq!(
            app.audited("refresh_token_reused").await,
            before + 1,
            "{seconds} s"
        );
    }
}

#[tokio::test]
async fn sessions_and_links_live_as_long_on_every_replica() {
    let app = TestApp::with_clock(&[("SESSION_IDLE_TTL", "60s")], Clock::database()).await;
    app.state.heartbeat.synchronize().await;
    app.sign_up("ada").await;
    let ada = app.log_in("ada@example.com").await;
    let behind_and_ahead = [skewed(&app, -600).await, skewed(&app, 600).await];
    let mut last = ada.refresh_token().to_owned();
    for replica in &behind_and_ahead {
        let answer = replica.refresh(&last).await;
        answer.assert_status(200);
        let left = answer.body["refresh_expires_in"]
            .as_u64()
            .expect("a number");
        assert!((50..=60).contains(&left), "{left} s are left");
        last = answer.body["refresh_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let known = replica.state.clock.system_ahead().expect("it is known");
        assert!(
            known.abs() < TimeDelta::seconds(2),
            "it is reported of the real difference"
        );
    }
}

#[tokio::test]
async fn the_heartbeat_follows_the_database_while_the_service_runs() {
    let app = TestApp::with_clock(&[], Clock::database_skewed(TimeDelta::seconds(600))).await;
    let difference = || {
        let now: chrono::DateTime<chrono::Utc> = app.state.clock.now();
        now - Clock::system().now()
    };
    assert!(difference() > TimeDelta::seconds(590));
    let stop = tokio_util::sync::CancellationToken::new();
    let watch = tokio::spawn(app.state.heartbeat.clone().watch(stop.clone()));
    for _ in 0..2_400 {
        if difference().abs() < TimeDelta::seconds(2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(difference().abs() < TimeDelta::seconds(2));
    stop.cancel();
    watch.await.expect("it ends");
}
