//! Re-encryption of many rows beside readers and writers, killed twice on the way. `RESEAL_ROWS=100000` is its whole form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crypto::Sealed;
use groundwork::ctx::Ctx;
use groundwork::ids::{AccountId, UserId};
use groundwork::sealed::SECRET_VALUES;
use groundwork::secrets;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::rotation::another_key;
use crate::harness::{Session, TestApp};
use crate::process::{Server, with};

/// Readers, and writers.
const CALLERS: usize = 8;

/// Rows that are locked until both processes were killed, so that neither is done before.
const LOCKED: usize = 3;

fn name(number: usize) -> String {
    format!("s{number}")
}

fn value(number: usize, version: u32) -> String {
    format!("value {number} at version {version}")
}

/// Version of a value that was read.
fn version(number: usize, read: &str) -> u32 {
    let version = read.rsplit(' ').next().and_then(|it| it.parse().ok());
    let version = version.unwrap_or_else(|| panic!("not a value: {read}"));
    assert_eq!(read, value(number, version));
    version
}

/// Stores the first version of every secret.
async fn fill(app: &TestApp, account: AccountId, rows: usize) {
    let numbers: Vec<usize> = (0..rows).collect();
    for numbers in numbers.chunks(1_000) {
        let ids: Vec<Uuid> = numbers
            .iter()
            .map(|_| Uuid::from_bytes(app.state.rng.bytes()))
            .collect();
        let names: Vec<String> = numbers.iter().map(|number| name(*number)).collect();
        let sealed: Vec<Vec<u8>> = numbers
            .iter()
            .zip(&ids)
            .map(|(number, id)| {
                let row = [account.0, *id, Uuid::from_u128(1)];
                let sealed = SECRET_VALUES.seal(&app.state, &row, value(*number, 1).as_bytes());
                sealed.as_bytes().to_vec()
            })
            .collect();
        sqlx::query(
            "WITH new AS (
                 INSERT INTO secrets (id, account_id, name, version, created_at, updated_at)
                 SELECT id, $1, name, 1, now(), now() FROM unnest($2::uuid[], $3::text[]) AS n (id, name)
             )
             INSERT INTO secret_versions (account_id, secret_id, version, value, created_at)
             SELECT $1, id, 1, value, now() FROM unnest($2::uuid[], $4::bytea[]) AS n (id, value)",
        )
        .bind(account.0)
        .bind(&ids)
        .bind(&names)
        .bind(&sealed)
        .execute(&app.owner_db)
        .await
        .expect("they are stored");
    }
}

/// Values under the key that encrypts now.
async fn resealed(app: &TestApp, key: &[u8]) -> usize {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM secret_versions WHERE substr(value, 2, 8) = $1")
            .bind(key)
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted");
    usize::try_from(count).expect("it is a count")
}

/// A number that is in no order.
fn pick(ctx: &Ctx, below: usize) -> usize {
    usize::try_from(u32::from_le_bytes(ctx.rng.bytes())).unwrap_or_default() % below
}

async fn read(ctx: Ctx, account: AccountId, written: Arc<Vec<AtomicU32>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let number = pick(&ctx, written.len());
        let least = written[number].load(Ordering::SeqCst);
        let name = name(number).try_into().expect("it is a name");
        let opened = secrets::open(&ctx, account, &name)
            .await
            .expect("it is read");
        let read = version(number, opened.expect("it is there").expose());
        assert!(read >= least, "{number} was at {least}, and is at {read}");
    }
}

async fn write(
    session: Arc<Session>,
    own: usize,
    written: Arc<Vec<AtomicU32>>,
    stop: CancellationToken,
) {
    let ctx = Ctx::system(&session.replica.state);
    while !stop.is_cancelled() {
        let number = pick(&ctx, written.len() / CALLERS) * CALLERS + own;
        if number + LOCKED >= written.len() {
            continue;
        }
        let next = written[number].load(Ordering::SeqCst) + 1;
        let stored = session
            .put_secret(&name(number), &value(number, next))
            .await;
        stored.assert_status(200);
        assert_eq!(stored.body["version"], next);
        written[number].store(next, Ordering::SeqCst);
    }
}

/// Decrypts the current version of every secret: it is the one that was written last.
async fn verify(app: &TestApp, ctx: &Ctx, account: AccountId, written: &[AtomicU32]) {
    let stored: Vec<(String, Uuid, i32, Sealed)> = sqlx::query_as(
        "SELECT s.name, s.id, v.version, v.value FROM secrets AS s
         JOIN secret_versions AS v ON v.secret_id = s.id AND v.version = s.version",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are read");
    assert_eq!(stored.len(), written.len());
    for (name, id, current, sealed) in stored {
        let number: usize = name[1..].parse().expect("it is a number");
        let current = u32::try_from(current).expect("it is a version");
        let row = [account.0, id, Uuid::from_u128(current.into())];
        let opened = SECRET_VALUES.open(ctx, account, &row, &sealed).await;
        let opened = opened.expect("it is decrypted");
        let read = String::from_utf8_lossy(opened.expose());
        assert_eq!(version(number, &read), current);
        assert_eq!(written[number].load(Ordering::SeqCst), current);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn values_are_re_encrypted_beside_readers_and_writers_and_survive_two_kills() {
    #[expect(clippy::disallowed_methods, reason = "the size of this test")]
    let rows = std::env::var("RESEAL_ROWS").ok();
    let rows = rows.map_or(2_000, |rows| rows.parse().expect("it is a number"));
    let app = TestApp::with(&[("PLAN_FREE_SECRETS", "0")]).await;
    let mut ada = app.sign_in("ada").await;
    let account = UserId(ada.user_id().await.parse().expect("it is an id")).personal_account();
    fill(&app, account, rows).await;
    let ring = format!("{},{}", another_key(), app.settings["ENCRYPTION_KEYS"]);
    let overrides = [("ENCRYPTION_KEYS", &*ring), ("DB_POOL_SIZE", "20")];
    ada.replica = app.another_replica_with(&overrides).await;
    let key = ada.replica.state.cipher.sealing_key();
    let key = key.as_bytes();

    let mut owner = app.owner().await;
    let lock = format!(
        "BEGIN; SELECT 1 FROM secret_versions AS v JOIN secrets AS s ON s.id = v.secret_id
         WHERE s.name >= 's{}' AND length(s.name) = length('s{0}') FOR UPDATE OF v",
        rows - LOCKED
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
        .execute(&mut owner)
        .await
        .expect("they are locked");
    let written: Arc<Vec<AtomicU32>> = Arc::new((0..rows).map(|_| AtomicU32::new(1)).collect());
    let (tasks, stop, ada) = (TaskTracker::new(), CancellationToken::new(), Arc::new(ada));
    let mut running = Vec::new();
    for own in 0..CALLERS {
        let ctx = Ctx::system(&ada.replica.state);
        running.push(tasks.spawn(read(ctx, account, Arc::clone(&written), stop.clone())));
        running.push(tasks.spawn(write(
            Arc::clone(&ada),
            own,
            Arc::clone(&written),
            stop.clone(),
        )));
    }

    let settings = with(&app.settings, &[("ENCRYPTION_KEYS", &ring)]);
    for part in [rows / 4, rows / 2] {
        let killed = Server::spawn(&settings, &["keys", "reseal"]);
        let began = Instant::now();
        while resealed(&app, key).await < part {
            assert!(
                began.elapsed() < Duration::from_mins(5),
                "{}",
                killed.written()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(killed); // SIGKILL
        assert!(resealed(&app, key).await >= part);
    }
    sqlx::raw_sql("COMMIT")
        .execute(&mut owner)
        .await
        .expect("the locks end");
    let before = resealed(&app, key).await;
    let began = Instant::now();
    let mut last = Server::spawn(&settings, &["keys", "reseal"]);
    let is_done =
        |line: &str| line.starts_with("secret_versions.value") && line.ends_with(", done");
    while !last.written().lines().any(is_done) {
        assert!(
            began.elapsed() < Duration::from_mins(5),
            "{}",
            last.written()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(last.ended().await, Some(0), "{}", last.written());
    println!(
        "{rows} rows, {before} before the last run:\n{}",
        last.written()
    );

    stop.cancel();
    for task in running {
        task.await.expect("no reader and no writer has failed");
    }
    let writes: u32 = written.iter().map(|it| it.load(Ordering::SeqCst) - 1).sum();
    assert!(writes > 0);
    // Without the key of before everything is there.
    let dropped = [("ENCRYPTION_KEYS", another_key())];
    let replica = app.another_replica_with(&dropped).await;
    let ctx = Ctx::system(&replica.state);
    verify(&app, &ctx, account, &written).await;
    let others: i64 =
        sqlx::query_scalar("SELECT count(*) FROM secret_versions WHERE substr(value, 2, 8) <> $1")
            .bind(key)
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted");
    assert_eq!(others, 0);
    assert_eq!(app.audited("decryption_failed").await, 0);
}
