//! Erasure of many accounts beside readers. `ERASE_ACCOUNTS=1000` is its whole form: so many accounts of 1,000 rows each; the
//! time of the readers is compared, and no statement may wait long for a lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use clock::Clock;
use groundwork::privacy::EraseDue;
use tokio_util::sync::CancellationToken;

use crate::harness::{Session, TestApp};

const READERS: usize = 4;

/// Longest wait of a statement for a lock.
const LOCK_WAIT: &str = "100 milliseconds";

/// Adds accounts whose erasure is due, with events and usage.
async fn fill(app: &TestApp, accounts: u32, rows: u32) {
    let now = app.clock.now();
    app.execute(&format!(
        "INSERT INTO users (id, email, password_hash, email_verified_at, erase_at, created_at, updated_at)
             SELECT gen_random_uuid(), 'user-' || n || '@example.com', 'x', '{now}', '{now}', '{now}', '{now}'
             FROM generate_series(1, {accounts}) AS n;
         INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
             SELECT gen_random_uuid(), u.id, u.id, 'x', '{{}}', '{now}'::timestamptz - n * interval '1 minute'
             FROM users AS u, generate_series(1, {half}) AS n WHERE u.email LIKE 'user-%';
         INSERT INTO api_usage (user_id, account_id, endpoint, status_code, created_at, request_count, response_time_ms,
                                response_time_max_ms)
             SELECT u.id, u.id, 'x', 200, date_trunc('minute', '{now}'::timestamptz) - n * interval '1 minute', 1, 1, 1
             FROM users AS u, generate_series(1, {half}) AS n WHERE u.email LIKE 'user-%';
         INSERT INTO account_deletions (user_id, requested_at, erase_at, next_attempt_at, books_id, is_notified)
             SELECT id, '{now}', '{now}', '{now}', gen_random_uuid(), false FROM users WHERE email LIKE 'user-%';
         ANALYZE",
        half = rows / 2,
    ))
    .await;
}

/// Reads until `stop`; returns the time of each request.
async fn read(session: Arc<Session>, stop: CancellationToken) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.is_cancelled() {
        for path in ["/api/v1/users/me", "/api/v1/usage/current"] {
            let began = Instant::now();
            session.get(path).await.assert_status(200);
            times.push(began.elapsed());
        }
        // A normal load, not as much as fits.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}

/// Time of the slowest hundredth of requests during some work.
async fn p99_during(session: &Arc<Session>, work: impl Future<Output = ()>) -> (Duration, usize) {
    let stop = CancellationToken::new();
    let readers: Vec<_> = (0..READERS)
        .map(|_| tokio::spawn(read(Arc::clone(session), stop.clone())))
        .collect();
    work.await;
    stop.cancel();
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await.expect("no reader has failed"));
    }
    times.sort();
    (times[times.len() * 99 / 100], times.len())
}

/// Counts looks at which a statement had waited too long, until `stop`.
async fn long_waits(app: &TestApp, stop: &CancellationToken) -> usize {
    let mut owner = app.owner().await;
    let sql = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '{LOCK_WAIT}'"
    );
    let mut found = 0;
    while !stop.is_cancelled() {
        let waiting: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone()))
            .fetch_one(&mut owner)
            .await
            .expect("they are counted");
        found += usize::from(waiting > 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_accounts_are_erased_beside_readers() {
    #[expect(clippy::disallowed_methods, reason = "the size of this test")]
    let whole = std::env::var("ERASE_ACCOUNTS").ok();
    let accounts = whole.as_ref().map(|it| it.parse().expect("it is a number"));
    let (accounts, rows) = accounts.map_or((20, 100), |accounts: u32| (accounts, 1_000));
    let start = "2026-03-14T09:26:53Z".parse::<DateTime<chrono::Utc>>();
    let clock = Clock::fixed(start.expect("it is a time"));
    let app = TestApp::with_clock(&[("DB_POOL_SIZE", "8")], clock).await;
    let ada = Arc::new(app.sign_in("ada").await);
    fill(&app, accounts, rows).await;
    let (before, _) = p99_during(&ada, tokio::time::sleep(Duration::from_secs(5))).await;

    job_queue::enqueue(&app.state.db, &EraseDue::default(), None)
        .await
        .expect("it is enqueued");
    let stop = CancellationToken::new();
    let began = Instant::now();
    let erase = async {
        app.run_jobs().await;
        stop.cancel();
    };
    let ((during, reads), waits) = tokio::join!(p99_during(&ada, erase), long_waits(&app, &stop));
    let took = began.elapsed();
    println!(
        "{accounts} accounts of {rows} rows in {took:.1?}, {:.1} accounts a second; p99 of {reads} reads {before:.1?}, \
         during the erasure {during:.1?}; {waits} waits above {LOCK_WAIT}",
        f64::from(accounts) / took.as_secs_f64()
    );
    assert_eq!(app.number("SELECT count(*) FROM users").await, 1);
    for rows in [
        "events WHERE event_type = 'x'",
        "api_usage WHERE endpoint = 'x'",
    ] {
        let sql = format!("SELECT count(*) FROM {rows}");
        assert_eq!(app.number(&sql).await, 0, "{rows}");
    }
    assert_eq!(app.audited("account_erased").await, i64::from(accounts));
    if whole.is_some() {
        assert_eq!(waits, 0, "waits above {LOCK_WAIT}");
        assert!(during <= before.mul_f64(1.5), "{before:?} and {during:?}");
    }
}
