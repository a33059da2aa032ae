//! PgBouncer restarts and freezes under load.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use groundwork_dev::pgbouncer::{Options, PoolMode};
use groundwork_dev::process::{self, Signal};

use crate::harness::{Load, Outcome, Service, count, is_fine, until};
use crate::poolers::Behind;

/// Clients that sign up new addresses, each until it is accepted, and those that read.
fn sign_ups(service: &Service, access: &str, refused: &Arc<Mutex<Vec<Outcome>>>) -> Load {
    let (caller, access, refused) = (
        service.caller.clone(),
        access.to_owned(),
        Arc::clone(refused),
    );
    Load::start(12, move |client, turn| {
        let (caller, access, refused) = (caller.clone(), access.clone(), Arc::clone(&refused));
        async move {
            loop {
                let outcome = if client % 3 == 0 {
                    caller.me(&access).await
                } else {
                    let email = format!("{client}-{turn}@example.com");
                    caller.register(&email).await
                };
                if is_fine(&outcome) {
                    return outcome;
                }
                refused.lock().expect("nobody panics here").push(outcome);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
}

async fn until_served(load: &Load) {
    let returned = Instant::now();
    until("requests succeed", async || {
        let newest = load.so_far();
        let newest = newest.iter().rev().take(24);
        newest.clone().count() == 24 && newest.clone().all(|outcome| outcome.began > returned)
    })
    .await;
}

/// Loads the service while `disturb` does something to the pooler or its sessions, and compares the replies with the rows.
async fn disturbed(disturb: impl AsyncFn(&mut Behind)) -> Vec<Outcome> {
    let mut behind = Behind::a_pooler(Options::for_service(PoolMode::Transaction)).await;
    let timeouts = [("DB_POOL_TIMEOUT", "3s"), ("HTTP_REQUEST_TIMEOUT", "50s")];
    let settings = behind.migrated(&timeouts).await;
    let service = Service::start(&settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    let refused = Arc::default();
    let load = sign_ups(&service, &access, &refused);
    for _ in 0..3 {
        let before = load.so_far().len();
        until("requests flow", async || load.so_far().len() > before + 60).await;
        disturb(&mut behind).await;
        until_served(&load).await;
    }
    let accepted = load.stop().await;
    let refused = refused.lock().expect("nobody panics here").clone();
    let wrong = refused.iter().find(|outcome| !outcome.is_shed());
    assert!(wrong.is_none(), "{wrong:?}");

    let registered = accepted.iter().filter(|it| it.status == 202).count();
    let registered = i64::try_from(registered).expect("not that many");
    let mut owner = behind.world.owner().await;
    for sql in [
        "SELECT count(*) FROM users WHERE email LIKE '%-%'",
        "SELECT count(DISTINCT user_id) FROM audit_log WHERE event = 'registered'
            AND user_id IN (SELECT id FROM users WHERE email LIKE '%-%')",
    ] {
        assert_eq!(count(&mut owner, sql).await, registered, "{sql}");
    }
    // An attempt whose reply was lost may have been committed; another one of a pending address is recorded too.
    let attempts = "SELECT count(*) FROM audit_log WHERE event = 'registered'
        AND user_id IN (SELECT id FROM users WHERE email LIKE '%-%')";
    let most = registered + i64::try_from(refused.len()).expect("not that many");
    let recorded = count(&mut owner, attempts).await;
    assert!((registered..=most).contains(&recorded), "{recorded}");
    refused
}

#[tokio::test]
async fn f63_a_restart_of_the_pooler_loses_no_write_that_was_acknowledged() {
    let restart = async |behind: &mut Behind| {
        let restarted = behind.pooler.restart(Duration::ZERO).await;
        restarted.expect("it starts");
    };
    disturbed(restart).await;
}

#[tokio::test]
async fn f63_sessions_of_the_pooler_that_end_lose_no_write_that_was_acknowledged() {
    let end = async |behind: &mut Behind| {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND usename <> current_user";
        assert!(count(&mut behind.world.owner().await, ended).await > 0);
    };
    disturbed(end).await;
}

#[tokio::test]
async fn f63_while_the_pooler_is_down_requests_get_503() {
    let down = async |behind: &mut Behind| {
        let restarted = behind.pooler.restart(Duration::from_secs(4)).await;
        restarted.expect("it starts");
    };
    assert!(!disturbed(down).await.is_empty(), "nothing was felt");
}

#[tokio::test]
async fn f63_while_the_pooler_is_frozen_requests_get_503() {
    let frozen = async |behind: &mut Behind| {
        process::signal(behind.pooler.id(), Signal::STOP);
        tokio::time::sleep(Duration::from_secs(6)).await;
        process::signal(behind.pooler.id(), Signal::CONT);
    };
    assert!(!disturbed(frozen).await.is_empty(), "nothing was felt");
}

#[tokio::test]
async fn f63_while_all_sessions_of_the_pooler_are_in_use_the_breaker_stays_closed() {
    let behind = Behind::a_pooler(Options {
        pool_size: 3,
        query_wait: 4,
        ..Options::for_service(PoolMode::Transaction)
    })
    .await;
    let timeouts = [("DB_POOL_TIMEOUT", "1s"), ("HTTP_REQUEST_TIMEOUT", "50s")];
    let settings = behind.migrated(&timeouts).await;
    let service = Service::start(&settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    let mut owner = behind.world.owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .expect("it locks");
    // Each statement holds a session until DB_LOCK_TIMEOUT, 2 s, so that the last of 16 would wait for 10 s.
    let (caller, token) = (service.caller.clone(), access.clone());
    let load = Load::start(40, move |_, _| {
        let (caller, token) = (caller.clone(), token.clone());
        async move { caller.me(&token).await }
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    // By the pooler each would wait for longer than its timeout.
    let locked = Instant::now();
    let mut is_ready = false;
    while locked.elapsed() < Duration::from_secs(15) {
        is_ready |= is_fine(&service.get("/health/ready").await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_ready, "readiness waits for the pooler");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut owner)
        .await
        .expect("it unlocks");
    until("requests succeed", async || {
        load.so_far().iter().rev().take(20).all(is_fine)
    })
    .await;
    let outcomes = load.stop().await;
    let wrong = outcomes
        .iter()
        .find(|outcome| !is_fine(outcome) && !outcome.is_shed());
    assert!(wrong.is_none(), "{wrong:?}");
    assert!(outcomes.iter().any(Outcome::is_shed), "nothing was felt");
    assert!(!service.written().contains("PostgreSQL does not respond"));
}
