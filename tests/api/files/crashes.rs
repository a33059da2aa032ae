//! The process is killed between any two steps of a start, a completion, a deletion and a sweep. Afterwards the request can
//! be repeated, and the sweep makes rows and objects agree.

use std::time::{Duration, Instant};

use groundwork::files::SweepFiles;
use groundwork_dev::{S3Effect, S3Hang};
use reqwest::Method;
use serde_json::Value;
use sqlx::PgConnection;

use crate::harness::Session;
use crate::kit::files::{BUCKET, FILES, FilesApp, Started, files_app_now, new_file, png};
use crate::kit::forms::{OpenForm, image};
use crate::organisations::races::until_waiting;
use crate::process::Server;

/// Lets every commit of a change of a file wait for an advisory lock.
const WAIT_AT_COMMIT: &str = "
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT OR UPDATE OR DELETE ON files
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();";

/// Lets statements on files and their accounts wait.
const LOCK_ROWS: &str =
    "BEGIN; SELECT FROM accounts FOR NO KEY UPDATE; SELECT FROM files FOR UPDATE";

const UNLOCK_JOBS: &str =
    "UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL, run_at = now()";

/// Time after which no request is about an upload.
const HOURS: Duration = Duration::from_hours(4);

const RETENTION: Duration = Duration::from_hours(24 * 31);

/// Place at which the process is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A call of the store, with its effect or before it.
    Call(&'static str, &'static str, S3Effect),
    /// A statement that waits for the account or the file.
    Statement,
    /// The commit, which takes effect without the process.
    Commit,
}

use Place::{Call, Commit, Statement};
use S3Effect::{Made, None as NotMade};

struct Crash {
    it: FilesApp,
    ada: Session,
    holder: PgConnection,
    observer: PgConnection,
}

impl Crash {
    async fn new() -> Self {
        let it = files_app_now().await;
        let ada = it.app.sign_in("ada").await;
        let (mut holder, observer) = (it.app.owner().await, it.app.owner().await);
        run(&mut holder, WAIT_AT_COMMIT).await;
        Self {
            it,
            ada,
            holder,
            observer,
        }
    }

    /// Kills the process that `start` starts when it is at the place.
    async fn kill_at(&mut self, place: Place, start: impl Future<Output = Server>) {
        let (prepare, release) = match place {
            Call(method, path, effect) => {
                self.it.s3.hang(S3Hang {
                    method: method.parse().expect("it is a method"),
                    path: path.to_owned(),
                    effect,
                });
                ("", "")
            }
            Statement => (LOCK_ROWS, "ROLLBACK"),
            Commit => (
                "SELECT pg_advisory_lock(42)",
                "SELECT pg_advisory_unlock(42)",
            ),
        };
        run(&mut self.holder, prepare).await;
        let server = start.await;
        match place {
            Call(..) => self.it.s3.until_hanging().await,
            Statement | Commit => until_waiting(&mut self.observer, 1).await,
        }
        drop(server); // SIGKILL
        run(&mut self.holder, release).await;
        self.until_committed().await;
    }

    /// Waits for the commits of a process that is gone.
    async fn until_committed(&mut self) {
        let began = Instant::now();
        let committing = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'active' AND query = 'COMMIT')";
        while sqlx::query_scalar(committing)
            .fetch_one(&mut self.observer)
            .await
            .expect("it is reported")
        {
            assert!(began.elapsed() < Duration::from_secs(30), "they end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn kill_during(&mut self, place: Place, method: Method, path: &str, body: Option<Value>) {
        let (settings, token) = (self.it.app.settings.clone(), self.ada.access().to_owned());
        self.kill_at(place, async {
            let server = Server::start(&settings, &["serve", "--no-worker"]).await;
            let url = server.root.join(path).expect("it is a path");
            let request = reqwest::Client::new()
                .request(method, url)
                .bearer_auth(token);
            let request = match body {
                Some(body) => request.json(&body),
                None => request,
            };
            tokio::spawn(request.send());
            server
        })
        .await;
    }

    /// Kills a worker during a sweep.
    async fn kill_during_sweep(&mut self, place: Place) {
        let (settings, db) = (self.it.app.settings.clone(), self.it.app.state.db.clone());
        self.kill_at(place, async {
            let enqueued = job_queue::enqueue(&db, &SweepFiles::default(), None).await;
            enqueued.expect("it is enqueued");
            Server::spawn(&settings, &["worker"])
        })
        .await;
    }

    /// A file whose bytes are in the store, not completed.
    async fn sent(&self, bytes: &[u8]) -> Started {
        let started = self.ada.start_file("image/png", bytes).await;
        assert_eq!(started.send(bytes).await, 200);
        started
    }

    async fn age(&self, by: Duration) {
        let aged = "UPDATE files SET upload_expires_at = upload_expires_at - $1,
            completed_at = completed_at - $1, deleted_at = deleted_at - $1";
        sqlx::query(aged)
            .bind(by)
            .execute(&self.it.app.owner_db)
            .await
            .expect("they are made older");
        self.it.s3.age(BUCKET, by);
    }

    /// Sweeps when no request can be about what there is, and compares rows and objects.
    async fn assert_repaired(&self) {
        self.age(HOURS).await;
        self.it.sweep().await;
        self.it.assert_agreement().await;
        assert!(self.it.states().await.iter().all(|state| state != "lost"));
    }
}

async fn run(conn: &mut PgConnection, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn a_start_that_is_killed_leaves_at_most_an_upload_that_expires() {
    let mut it = Crash::new().await;
    for (place, rows) in [(Statement, 0), (Commit, 1)] {
        let body = new_file("a file", "image/png", &png(1));
        it.kill_during(place, Method::POST, FILES, Some(body)).await;
        assert_eq!(it.it.states().await.len(), rows, "{place:?}");
        it.sent(&png(2)).await;
        it.assert_repaired().await;
        assert_eq!(it.it.states().await.len(), 0);
    }
}

#[tokio::test]
async fn an_upload_through_the_service_that_is_killed_leaves_nothing() {
    let mut it = Crash::new().await;
    let body = image(&png(300_000)).end();
    let (settings, token) = (it.it.app.settings.clone(), it.ada.access().to_owned());

    let server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let mut form = OpenForm::at(server.root.authority(), &token, body.len()).await;
    form.send(&body[..body.len() / 2]).await;
    let began = Instant::now();
    while it.it.states().await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "it has begun");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(server); // SIGKILL
    it.assert_repaired().await;
    assert_eq!(it.it.states().await.len(), 0);

    for place in [
        Call("PUT", "/files/", NotMade),
        Call("PUT", "/files/", Made),
        Statement,
        Commit,
    ] {
        let (settings, token, body) = (settings.clone(), token.clone(), body.clone());
        it.kill_at(place, async {
            let server = Server::start(&settings, &["serve", "--no-worker"]).await;
            let address = server.root.authority().to_owned();
            tokio::spawn(async move {
                let mut form = OpenForm::at(&address, &token, body.len()).await;
                let _ = form.try_send(&body).await;
                std::future::pending::<()>().await;
            });
            server
        })
        .await;
        it.assert_repaired().await;
        assert_eq!(it.it.states().await.len(), 0, "{place:?}");
        assert_eq!(it.it.keys(), [""; 0], "{place:?}");
    }
}

#[tokio::test]
async fn a_completion_that_is_killed_can_be_repeated_or_left() {
    let mut it = Crash::new().await;
    let places = [
        Call("HEAD", "/staging/", NotMade),
        Call("PUT", "/files/", NotMade),
        Call("PUT", "/files/", Made),
        Call("HEAD", "/files/", NotMade),
        Call("GET", "/files/", NotMade),
        Statement,
        Commit,
        Call("DELETE", "/staging/", NotMade),
        Call("DELETE", "/staging/", Made),
    ];
    for (place, size) in places.into_iter().zip(1..) {
        for is_repeated in [true, false] {
            let bytes = png(size);
            let started = it.sent(&bytes).await;
            let path = format!("{}/complete", started.path());
            it.kill_during(place, Method::POST, &path, None).await;
            let is_complete = matches!(place, Commit | Call("DELETE", ..));
            if is_repeated {
                it.ada.complete(&started).await.assert_status(200);
            }
            it.assert_repaired().await;
            let status = if is_complete || is_repeated { 200 } else { 404 };
            it.ada.get(&started.path()).await.assert_status(status);
            if status == 200 {
                let url = it.ada.content(&started, &[]).await.headers["location"].clone();
                let found = reqwest::get(url.to_str().expect("it is text")).await;
                let found = found.expect("the store answers").bytes().await;
                assert_eq!(found.expect("they are read"), bytes, "{place:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_deletion_and_a_sweep_that_are_killed_are_continued() {
    let mut it = Crash::new().await;
    for place in [Statement, Commit] {
        let file = it.ada.upload("image/png", &png(1)).await;
        it.kill_during(place, Method::DELETE, &file.path(), None)
            .await;
        it.assert_repaired().await;
        let status = if matches!(place, Commit) { 404 } else { 204 };
        it.ada.delete_file(&file).await.assert_status(status);
        it.assert_repaired().await;
    }
    it.age(RETENTION).await;
    for (place, deleted) in [
        (Call("DELETE", "/files/", NotMade), 2),
        (Call("DELETE", "/files/", Made), 2),
        (Commit, 1),
    ] {
        it.kill_during_sweep(place).await;
        assert_eq!(it.it.states().await.len(), deleted, "{place:?}");
    }
    // Not before the jobs of the killed workers are unlocked, which takes the queue four hours.
    it.it.app.run_jobs().await;
    assert_eq!(it.it.states().await.len(), 1);
    run(&mut it.holder, UNLOCK_JOBS).await;
    it.it.app.run_jobs().await;
    it.it.assert_agreement().await;
    assert_eq!((it.it.states().await, it.it.keys()), (vec![], vec![]));
}
