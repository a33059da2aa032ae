//! Replicas whose system clocks differ, and one whose clock jumps.

use std::path::PathBuf;
use std::time::Duration;

use groundwork_dev::files::Scratch;
use groundwork_dev::packages::{self, Package};
use serde_json::Value;

use crate::harness::{Service, Settings, World, count, is_fine, until, with};

const REUSED: &str = "SELECT count(*) FROM audit_log WHERE event = 'refresh_token_reused'";

/// Rotations that were eleven seconds ago.
const AGED: &str = "UPDATE sessions SET rotations = ARRAY(SELECT at - interval '11 s' FROM unnest(rotations) AS at)";

/// The library that gives a process another time; installed where it is missing.
fn library() -> PathBuf {
    let find = || {
        let folders = std::fs::read_dir("/usr/lib").ok()?;
        let mut paths = folders
            .flatten()
            .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        paths.find(|path| path.is_file())
    };
    find()
        .or_else(|| {
            packages::install(&[Package::Faketime])
                .ok()
                .and_then(|()| find())
        })
        .unwrap_or_else(|| panic!("libfaketime is missing: {}", Package::Faketime.advice()))
}

/// A system clock that is off by what a file says.
struct SystemClock(Scratch);

impl SystemClock {
    fn off_by(seconds: i64) -> Self {
        let clock = Self(Scratch::new(None).expect("a scratch directory"));
        clock.set(seconds);
        clock
    }

    fn set(&self, seconds: i64) {
        // Renamed into place: the library reads it at each call.
        let (file, new) = (self.file(), self.0.path().join("new"));
        std::fs::write(&new, format!("{seconds:+}\n")).expect("there is room");
        std::fs::rename(new, file).expect("it is replaced");
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    async fn serve(&self, settings: &Settings) -> Service {
        let (library, file) = (library(), self.file());
        let text = |path: &PathBuf| path.to_str().expect("it is text").to_owned();
        let faked = with(
            settings,
            &[
                ("LD_PRELOAD", &text(&library)),
                ("FAKETIME_TIMESTAMP_FILE", &text(&file)),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ],
        );
        Service::start(&faked, &["serve"]).await
    }
}

/// The refresh token that a service gives for this one.
async fn refreshed(service: &Service, token: &str) -> String {
    let outcome = service.refresh(token).await;
    assert!(is_fine(&outcome), "{outcome:?}");
    let token = outcome.body["refresh_token"].as_str();
    token.expect("there is a token").to_owned()
}

#[tokio::test]
async fn f19_replicas_whose_clocks_differ_agree_on_sessions_and_see_reuse() {
    let world = World::new().await;
    let one = world.serve(&[]).await;
    let mut owner = world.owner().await;
    let tokens = one.sign_in("ada").await;
    let mut last = tokens.refresh;
    for (before, seconds) in (0..).zip([20, -20, 600, -600]) {
        let clock = SystemClock::off_by(seconds);
        let other = clock.serve(&world.settings).await;
        for [first, second] in [[&one, &other], [&other, &one]] {
            let next = refreshed(first, &last).await;
            assert_eq!(refreshed(second, &last).await, next, "{seconds} s");
            last = next;
        }
        let session = other.log_in("ada@example.com").await;
        assert!(is_fine(&session), "{session:?}");
        let access = session.body["access_token"].as_str().expect("a token");
        for service in [&one, &other] {
            let me = service.me(access).await;
            assert!(is_fine(&me), "{seconds} s: {me:?}");
        }
        let used = session.body["refresh_token"].as_str().expect("a token");
        refreshed(&one, used).await;
        sqlx::query(AGED)
            .execute(&mut owner)
            .await
            .expect("they are set back");
        assert_eq!(count(&mut owner, REUSED).await, before, "{seconds} s");
        assert_eq!(other.refresh(used).await.status, 401);
        assert_eq!(count(&mut owner, REUSED).await, before + 1, "{seconds} s");
        let warned = |line: &Value| {
            line["message"]
                .as_str()
                .is_some_and(|it| it.contains("the system clock differs"))
        };
        until("it warns", Duration::from_secs(10), async || {
            other.lines().any(|line| warned(&line))
        })
        .await;
    }
}

#[tokio::test]
async fn f19_a_clock_that_jumps_while_the_service_runs_ends_no_session() {
    let world = World::new().await;
    let clock = SystemClock::off_by(0);
    let service = clock.serve(&world.settings).await;
    let other = world.serve(&[]).await;
    let tokens = service.sign_in("ada").await;
    let mut last = tokens.refresh;
    for seconds in [600, -600, 20, -86_400, 0] {
        clock.set(seconds);
        for _ in 0..5 {
            let next = refreshed(&service, &last).await;
            assert_eq!(refreshed(&other, &last).await, next, "{seconds} s");
            last = next;
        }
        for service in [&service, &other] {
            let me = service.me(&tokens.access).await;
            assert!(is_fine(&me), "{seconds} s: {me:?}");
        }
    }
    let mut owner = world.owner().await;
    assert_eq!(count(&mut owner, REUSED).await, 0);
}
