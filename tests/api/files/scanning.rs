//! Virus scans by a real clamd: nothing is served before, what is infected is removed, and without a scanner files wait.

use std::time::Duration;

use groundwork::files::ScanWaiting;
use groundwork_dev::clamd::{EICAR, EICAR_SIGNATURE};
use groundwork_dev::{Clamd, Fault, Proxy, S3Effect, S3Fault};
use reqwest::{Method, StatusCode};
use sqlx::AssertSqlSafe;

use crate::harness::Session;
use crate::kit::files::{BUCKET, FILES, FilesApp, Started, files_app_with, new_file, png};
use crate::organisations::races::until_waiting;

/// The service, its scanner, and a proxy between them.
struct ScannedApp {
    it: FilesApp,
    proxy: Proxy,
    _clamd: Clamd,
}

async fn scanned_app() -> ScannedApp {
    let clamd = Clamd::throw_away().await.expect("it starts");
    let proxy = Proxy::start(clamd.port()).await.expect("it starts");
    let url = format!("tcp://127.0.0.1:{}", proxy.port());
    let settings = [
        ("SCANNER_URL", url.as_str()),
        ("SCANNER_TIMEOUT", "5s"),
        ("PLAN_FREE_FILES", "3"),
    ];
    let it = files_app_with(&settings).await;
    ScannedApp {
        it,
        proxy,
        _clamd: clamd,
    }
}

impl ScannedApp {
    /// Waits until readiness has asked the scanner again, which it does every two seconds.
    async fn until_degraded(&self) {
        for _ in 0..200 {
            let ready = self.it.app.get("/health/ready").await;
            ready.assert_status(200);
            if ready.body["scanner"] == "degraded" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the scanner is not reported");
    }

    /// Lets so much time pass that the job of the schedule finds files that wait.
    async fn scan_waiting(&self) {
        self.it.app.clock.advance(Duration::from_mins(6));
        let job = ScanWaiting::default();
        job_queue::enqueue(&self.it.app.state.db, &job, None)
            .await
            .expect("it is enqueued");
        self.it.app.run_jobs().await;
    }
}

fn eicar() -> Vec<u8> {
    EICAR.concat().into_bytes()
}

impl Session {
    async fn status_of(&self, file: &Started) -> String {
        let answer = self.get(&file.path()).await;
        answer.assert_status(200);
        answer.body["status"]
            .as_str()
            .expect("it is text")
            .to_owned()
    }

    async fn assert_waits(&self, file: &Started) {
        assert_eq!(self.status_of(file).await, "scanning");
        let content = self.content(file, &[]).await;
        content.assert_problem(409, "file_scanning");
        assert!(content.headers.contains_key("retry-after"));
        assert!(!content.headers.contains_key("location"));
    }
}

#[tokio::test]
async fn a_file_is_served_once_the_scanner_has_passed_it() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let (ada, grace) = (it.app.sign_in("ada").await, it.app.sign_in("grace").await);
    let bytes = png(100_000);
    let file = ada.upload("image/png", &bytes).await;
    ada.assert_waits(&file).await;
    assert_eq!(ada.complete(&file).await.body["status"], "scanning");
    assert_eq!(ada.get(FILES).await.body["items"][0]["status"], "scanning");
    for answer in [
        grace.get(&file.path()).await,
        grace.content(&file, &[]).await,
        grace.delete_file(&file).await,
    ] {
        answer.assert_problem(404, "not_found");
    }
    it.app.run_jobs().await;
    assert_eq!(ada.status_of(&file).await, "complete");
    let content = ada.content(&file, &[]).await;
    content.assert_status(302);
    let url = content.headers["location"].to_str().expect("it is text");
    let read = reqwest::get(url).await.expect("the store answers");
    assert_eq!(read.bytes().await.expect("it is whole"), bytes);
    let ready = it.app.get("/health/ready").await;
    assert_eq!(ready.body["scanner"], "ok", "{}", ready.body);
    assert_eq!(ada.complete(&file).await.body["status"], "complete");
    assert_eq!(it.app.audited("file_infected").await, 0);
}

#[tokio::test]
async fn an_infected_file_is_refused_removed_and_reported_and_counts_towards_no_limit() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    ada.new_organisation("acme").await;
    let bob = it.app.join(&ada, "acme", "bob", "member").await;
    let body = Some(new_file("invoice.txt", "text/plain", &eicar()));
    let file = Started::of(&bob.for_account("acme", Method::POST, FILES, body).await);
    assert_eq!(file.send(&eicar()).await, 200);
    let path = format!("{}/complete", file.path());
    let completed = bob.for_account("acme", Method::POST, &path, None).await;
    assert_eq!(completed.body["status"], "scanning");
    it.app.run_jobs().await;

    let content = format!("{}/content", file.path());
    let refused = bob.get_for("acme", &content).await;
    refused.assert_problem(410, "file_infected");
    let found = bob.get_for("acme", &file.path()).await;
    assert_eq!(found.body["status"], "infected");
    assert!(it.keys().is_empty());
    assert_eq!(it.app.audited("file_infected").await, 1);
    let detail: serde_json::Value =
        sqlx::query_scalar("SELECT detail FROM audit_log WHERE event = 'file_infected'")
            .fetch_one(&it.app.owner_db)
            .await
            .expect("it is audited");
    assert_eq!(detail["signature"], EICAR_SIGNATURE);
    for recipient in ["ada@example.com", "bob@example.com"] {
        let email = it.app.email_to(recipient).await;
        assert!(email.subject.contains("is infected"), "{}", email.subject);
        for part in [EICAR_SIGNATURE, "ACME", "bob@example.com", &file.id] {
            assert!(email.text.contains(part), "{part}: {}", email.text);
        }
    }
    for size in 0..3 {
        let body = Some(new_file("x", "image/png", &png(size)));
        let started = ada.for_account("acme", Method::POST, FILES, body).await;
        started.assert_status(201);
    }
    let deleted = bob
        .for_account("acme", Method::DELETE, &file.path(), None)
        .await;
    deleted.assert_status(204);
    let gone = bob.get_for("acme", &file.path()).await;
    gone.assert_problem(404, "not_found");
}

#[tokio::test]
async fn while_the_scanner_is_away_files_wait_and_pass_when_it_is_back() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("image/png", &png(1)).await;
    // The last one replies to a ping, and is cut within the verdict.
    for fault in [Fault::Refuse, Fault::Blackhole, Fault::CutAfter(7)] {
        scanned.proxy.set(fault);
        it.app.hurry_jobs().await;
        it.app.run_jobs().await;
        ada.assert_waits(&file).await;
    }
    scanned.proxy.set(Fault::Refuse);
    it.app.clock.advance(Duration::from_secs(3));
    scanned.until_degraded().await;
    // The job of the schedule changes nothing without a scanner, and then does not wait for the backoff.
    scanned.scan_waiting().await;
    let ada = it.app.log_in("ada@example.com").await;
    ada.assert_waits(&file).await;
    scanned.proxy.set(Fault::None);
    scanned.scan_waiting().await;
    assert_eq!(ada.status_of(&file).await, "complete");
}

#[tokio::test]
async fn a_file_whose_job_is_gone_is_scanned_by_the_schedule() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("image/png", &png(1)).await;
    sqlx::query("DELETE FROM graphile_worker._private_jobs")
        .execute(&it.app.owner_db)
        .await
        .expect("it is deleted");
    scanned.scan_waiting().await;
    let ada = it.app.log_in("ada@example.com").await;
    assert_eq!(ada.status_of(&file).await, "complete");
}

#[tokio::test]
async fn files_larger_than_the_scanner_accepts_are_refused_and_never_served() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    let replica = it
        .app
        .another_replica_with(&[("SCANNER_MAX_MIB", "1")])
        .await;
    let text = vec![b'x'; 1024 * 1024 + 1];
    let body = Some(new_file("x", "text/plain", &text));
    let token = Some(ada.access());
    let refused = replica.call(Method::POST, FILES, token, body).await;
    refused.assert_problem(413, "payload_too_large");
    // Where the setting is larger than that of clamd.
    let file = ada.upload("text/plain", &text).await;
    it.app.run_jobs().await;
    ada.assert_waits(&file).await;
    ada.delete_file(&file).await.assert_status(204);
    it.app.hurry_jobs().await;
    it.app.run_jobs().await;
    assert_eq!(it.states().await, ["deleted"]);
}

#[tokio::test]
async fn an_infected_object_that_could_not_be_removed_goes_at_the_next_sweep() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("text/plain", &eicar()).await;
    for _ in 0..2 {
        it.s3.fault(S3Fault {
            method: Method::DELETE,
            path: "/files/".to_owned(),
            effect: S3Effect::None,
            status: StatusCode::SERVICE_UNAVAILABLE,
        });
    }
    it.app.run_jobs().await;
    assert_eq!(it.keys().len(), 1);
    ada.content(&file, &[])
        .await
        .assert_problem(410, "file_infected");
    it.sweep_later(Duration::from_hours(3)).await;
    assert!(it.keys().is_empty());
    assert_eq!(it.states().await, ["infected"]);
    it.sweep_later(Duration::from_hours(31 * 24)).await;
    assert!(it.states().await.is_empty());
}

#[tokio::test]
async fn a_lost_file_that_was_not_scanned_is_scanned_when_its_object_is_back() {
    let scanned = scanned_app().await;
    let it = &scanned.it;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("image/png", &png(1)).await;
    let key = it.keys()[0].clone();
    let bytes = it.s3.read(BUCKET, &key).expect("it is there");
    it.s3.remove(BUCKET, &key);
    it.app.run_jobs().await;
    ada.assert_waits(&file).await;
    it.sweep_later(Duration::from_hours(3)).await;
    assert_eq!(it.states().await, ["lost"]);
    it.s3.write(BUCKET, &key, &bytes);
    it.sweep().await;
    let ada = it.app.log_in("ada@example.com").await;
    ada.assert_waits(&file).await;
    scanned.scan_waiting().await;
    assert_eq!(ada.status_of(&file).await, "complete");
}

#[tokio::test]
async fn a_file_that_is_deleted_during_its_scan_stays_deleted() {
    for bytes in [png(1), eicar()] {
        let scanned = scanned_app().await;
        let it = &scanned.it;
        let ada = it.app.sign_in("ada").await;
        let kind = if bytes == eicar() {
            "text/plain"
        } else {
            "image/png"
        };
        let file = ada.upload(kind, &bytes).await;
        let mut owner = it.app.owner().await;
        let mut observer = it.app.owner().await;
        let mut held = sqlx::Connection::begin(&mut owner)
            .await
            .expect("it begins");
        sqlx::query("SELECT 1 FROM files FOR UPDATE")
            .execute(&mut *held)
            .await
            .expect("it is locked");
        let delete = ada.delete_file(&file);
        let scan = async {
            until_waiting(&mut observer, 1).await;
            it.app.run_jobs().await;
        };
        let release = async {
            let mut observer = it.app.owner().await;
            until_waiting(&mut observer, 2).await;
            held.rollback().await.expect("it ends");
        };
        let (deleted, (), ()) = tokio::join!(delete, scan, release);
        deleted.assert_status(204);
        assert_eq!(it.states().await, ["deleted"]);
        assert_eq!(it.app.audited("file_infected").await, 0);
    }
}

#[tokio::test]
async fn without_the_scanner_files_that_wait_are_refused_until_an_operator_releases_them() {
    let it = files_app_with(&[]).await;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("image/png", &png(1)).await;
    assert_eq!(
        ada.status_of(&file).await,
        "complete",
        "as without a scanner"
    );
    sqlx::query("UPDATE files SET state = 'scanning', needs_scan = true")
        .execute(&it.app.owner_db)
        .await
        .expect("it waits");
    it.app.clock.advance(Duration::from_mins(6));
    job_queue::enqueue(&it.app.state.db, &ScanWaiting::default(), None)
        .await
        .expect("it is enqueued");
    it.app.run_jobs().await;
    ada.assert_waits(&file).await;
    let runbook = include_str!("../../../docs/runbooks/files-not-scanned.md");
    let release = runbook
        .split("```sql\n")
        .nth(1)
        .expect("it has a statement");
    let release = release.split("```").next().expect("it ends");
    sqlx::query(AssertSqlSafe(release.to_owned()))
        .execute(&it.app.owner_db)
        .await
        .expect("it is released");
    ada.content(&file, &[]).await.assert_status(302);
}
