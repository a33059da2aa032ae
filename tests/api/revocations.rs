//! How replicas learn which sessions have ended.

use std::time::Duration;

use clock::Clock;
use groundwork::auth;
use session_tokens::RevocationStatus;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Replica, Session, TestApp, owner_url};
use crate::kit::wait::until;
use crate::process::{run, stderr, stdout};

const END: &str = "UPDATE sessions SET ended_at = $2, end_reason = 'signed_out' WHERE id = $1";
const ENTRIES: &str = "SELECT count(*) FROM session_revocations";
const ACTIVE: &str = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
/// A session like the oldest one, under another id and token.
const COPY: &str = "INSERT INTO sessions (id, user_id, created_at, expires_at, idle_expires_at, last_used_at, generation, token_hash)
    SELECT id_with_time, user_id, created_at, expires_at, idle_expires_at, last_used_at, generation, sha256(token_hash)
    FROM (SELECT *, overlay(id::text placing 'ffff' from 20 for 4)::uuid AS id_with_time FROM sessions ORDER BY id LIMIT 1) AS it
    RETURNING id";

struct Watch {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts the watch of a replica; it has read everything when this returns.
    async fn start(replica: &Replica) -> Self {
        let stop = CancellationToken::new();
        let watch = auth::watch_revocations(replica.state.clone(), stop.clone());
        let task = tokio::spawn(watch);
        let list = &replica.state.revocation_list;
        let nobody = Uuid::nil();
        until("the first look", async || {
            list.status(nobody, nobody) == RevocationStatus::Active
        })
        .await;
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
    }
}

/// The id of the session that a token was signed for, and of its owner.
async fn ids(app: &TestApp, session: &Session) -> (Uuid, Uuid) {
    let listed = session.get("/api/v1/auth/sessions").await;
    let items = listed.body["items"]
        .as_array()
        .expect("it is a list")
        .clone();
    let own = items.iter().find(|item| item["is_current"] == true);
    let id = own.expect("one is current")["id"]
        .as_str()
        .expect("it is text");
    let id: Uuid = id.parse().expect("it is an id");
    let owner = sqlx::query_scalar("SELECT user_id FROM sessions WHERE id = $1").bind(id);
    (
        owner.fetch_one(&app.owner_db).await.expect("it is there"),
        id,
    )
}

async fn execute(connection: &mut PgConnection, sql: &'static str, id: Uuid) {
    sqlx::query(sql)
        .bind(id)
        .execute(connection)
        .await
        .expect("the owner may");
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts")
}

#[tokio::test]
async fn an_ending_that_commits_after_later_ones_is_not_missed() {
    let app = TestApp::new().await;
    let watch = Watch::start(&app.replica).await;
    let early = app.sign_in("ada").await;
    let late = app.log_in("ada@example.com").await;
    let (_, early_id) = ids(&app, &early).await;
    let (_, late_id) = ids(&app, &late).await;

    let now = app.clock.now();
    let end = |id: Uuid| sqlx::query(END).bind(id).bind(now);
    let mut slow = PgConnection::connect(&owner_url_of(&app).await)
        .await
        .expect("the test server answers");
    let mut tx = slow.begin().await.expect("it begins");
    end(early_id).execute(&mut *tx).await.expect("it ends");
    end(late_id)
        .execute(&mut app.owner().await)
        .await
        .expect("it ends");
    until("the later ending", async || !late.is_signed_in().await).await;
    // Other endings come and are read while the first one is still open.
    for _ in 0..3 {
        let another = app.log_in("ada@example.com").await;
        let (_, id) = ids(&app, &another).await;
        end(id)
            .execute(&mut app.owner().await)
            .await
            .expect("it ends");
        until("another ending", async || !another.is_signed_in().await).await;
    }
    assert!(early.is_signed_in().await, "it has not ended yet");
    tx.commit().await.expect("it commits");
    until("the ending that came late", async || {
        !early.is_signed_in().await
    })
    .await;
    watch.stop().await;
}

async fn owner_url_of(app: &TestApp) -> String {
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&app.owner_db)
        .await
        .expect("it has a name");
    owner_url(&name)
}

#[tokio::test]
async fn a_session_that_is_ended_or_deleted_by_hand_is_refused() {
    let app = TestApp::new().await;
    let watch = Watch::start(&app.replica).await;
    let ended = app.sign_in("ada").await;
    let deleted = app.log_in("ada@example.com").await;
    let stays = app.log_in("ada@example.com").await;
    let (_, ended_id) = ids(&app, &ended).await;
    let (_, deleted_id) = ids(&app, &deleted).await;
    let mut owner = app.owner().await;
    let end = "UPDATE sessions SET ended_at = created_at, end_reason = 'signed_out' WHERE id = $1";
    execute(&mut owner, end, ended_id).await;
    // The row is as long-lived as the real time, which is not the test's.
    let lasting = "UPDATE sessions SET expires_at = now() + interval '1 day' WHERE id = $1";
    execute(&mut owner, lasting, deleted_id).await;
    execute(&mut owner, "DELETE FROM sessions WHERE id = $1", deleted_id).await;
    for session in [&ended, &deleted] {
        until("it is refused", async || !session.is_signed_in().await).await;
    }
    assert!(stays.is_signed_in().await);
    assert_eq!(count(&app, ENTRIES).await, 2);
    watch.stop().await;
}

#[tokio::test]
async fn an_account_that_signs_out_everywhere_is_one_revocation_and_may_sign_in_again() {
    let app = TestApp::with(&[("SESSION_MAX_COUNT", "1000")]).await;
    let other = app.another_replica().await;
    let watch = Watch::start(&other).await;
    for sessions in [3, 400] {
        let here = match sessions {
            3 => app.sign_in("ada").await,
            _ => app.log_in("ada@example.com").await,
        };
        let (owner, _) = ids(&app, &here).await;
        // Each a second older than the one before, and none newer than ours.
        let more = "INSERT INTO sessions (id, user_id, created_at, expires_at)
            SELECT gen_random_uuid(), $1, $2 - n * interval '1 second', $2 + interval '1 day'
            FROM generate_series(1, $3) AS n";
        sqlx::query(more)
            .bind(owner)
            .bind(app.clock.now())
            .bind(sessions)
            .execute(&mut app.owner().await)
            .await
            .expect("they begin");
        let before = count(&app, ENTRIES).await;
        let mut there = app.log_in("ada@example.com").await;
        there.replica = other.clone();
        let displaced = count(&app, ENTRIES).await - before;
        assert!(
            displaced <= 1,
            "{displaced} entries for all that were displaced"
        );
        here.post("/api/v1/auth/logout-all", serde_json::Value::Null)
            .await
            .assert_status(204);
        assert_eq!(count(&app, ENTRIES).await, before + 1);
        until("the others are refused", async || {
            !there.is_signed_in().await
        })
        .await;

        app.clock.advance(Duration::from_secs(1));
        let mut again = app.log_in("ada@example.com").await;
        again.replica = other.clone();
        assert!(again.is_signed_in().await);
    }
    watch.stop().await;
}

#[tokio::test]
async fn revocations_are_purged_once_their_tokens_have_run_out() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.post("/api/v1/auth/logout-all", serde_json::Value::Null)
        .await
        .assert_status(204);
    let purge = async || {
        job_queue::enqueue(&app.state.db, &auth::PurgeExpired::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
        count(&app, ENTRIES).await
    };
    assert_eq!(purge().await, 1);
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(purge().await, 1, "a replica may still have to read it");
    app.clock.advance(Duration::from_mins(30));
    assert_eq!(purge().await, 0);
}

#[tokio::test]
async fn an_access_token_whose_session_was_lost_by_a_restore_runs_out_and_is_never_refreshed() {
    let app = TestApp::new().await;
    let watch = Watch::start(&app.replica).await;
    let ada = app.sign_in("ada").await;
    let lost = "ALTER TABLE sessions DISABLE TRIGGER USER; DELETE FROM sessions; ALTER TABLE sessions ENABLE TRIGGER USER";
    sqlx::raw_sql(lost)
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    assert!(
        ada.is_signed_in().await,
        "the signature is ours, and nobody revoked it"
    );
    app.replica
        .refresh(ada.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    // After a restore the signing key is replaced at once.
    let key = crypto::Key32::new(clock::Rng::system().bytes()).encode();
    let rotated = app
        .another_replica_with(&[("JWT_SIGNING_KEYS", &key)])
        .await;
    let after = Session {
        replica: rotated,
        tokens: ada.tokens.clone(),
    };
    assert!(!after.is_signed_in().await);
    app.clock.advance(Duration::from_secs(15 * 60 + 30));
    assert!(!ada.is_signed_in().await);
    watch.stop().await;
    // Where the list is behind, the database is asked, which has no such session.
    let unwatched = app.another_replica().await;
    let fresh = app.log_in("ada@example.com").await;
    sqlx::raw_sql(lost)
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    let fresh = Session {
        replica: unwatched,
        tokens: fresh.tokens.clone(),
    };
    assert!(!fresh.is_signed_in().await);
}

#[tokio::test]
async fn everybody_is_signed_out_by_two_entries_whatever_the_number_of_sessions() {
    let app = TestApp::with(&[("HTTP_REQUEST_TIMEOUT", "3s")]).await;
    let watch = Watch::start(&app.replica).await;
    let ada = app.sign_in("ada").await;
    let mut sessions = vec![app.sign_in("grace").await];
    for _ in 0..5 {
        sessions.push(app.log_in("ada@example.com").await);
    }
    // A sign-in that is in progress: its session is stored while the command runs.
    let mut owner = app.owner().await;
    let mut late = owner.begin().await.expect("it begins");
    let late_id: Uuid = sqlx::query_scalar(COPY)
        .fetch_one(&mut *late)
        .await
        .expect("it is copied");
    let out = run(&app.settings, &["users", "sign-out-everybody"]);
    let sign_in = async {
        until("the sessions are over", async || {
            count(&app, ACTIVE).await == 0
        })
        .await;
        late.commit().await.expect("it is stored");
    };
    let (out, ()) = tokio::join!(out, sign_in);
    assert_eq!(stdout(&out).trim(), "8", "{}", stderr(&out));
    until("nobody is signed in", async || {
        let mut is_signed_in = ada.is_signed_in().await;
        for session in &sessions {
            is_signed_in |= session.is_signed_in().await;
        }
        !is_signed_in
    })
    .await;
    let owner = sqlx::query_scalar("SELECT user_id FROM sessions WHERE id = $1").bind(late_id);
    let owner = owner.fetch_one(&app.owner_db).await.expect("it is there");
    let list = &app.replica.state.revocation_list;
    assert_eq!(list.status(owner, late_id), RevocationStatus::Revoked);
    let refused = app.replica.refresh(ada.refresh_token()).await;
    refused.assert_problem(401, "invalid_refresh_token");
    assert_eq!(count(&app, ENTRIES).await, 2);
    assert_eq!(count(&app, ACTIVE).await, 0);
    assert_eq!(app.audited("signed_out_everybody").await, 1);
    // The command has the clock of the machine.
    let behind = Clock::system().now() - app.clock.now();
    app.clock
        .advance(behind.to_std().unwrap_or_default() + Duration::from_secs(1));
    let again = app.log_in("ada@example.com").await;
    assert!(again.is_signed_in().await);
    assert_eq!(count(&app, ACTIVE).await, 1);
    watch.stop().await;
}
