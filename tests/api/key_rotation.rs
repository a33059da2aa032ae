//! Rotating keys: what the commands make of a ring, and that no step of a rolling restart refuses
//! anybody.

use std::os::unix::fs::PermissionsExt as _;

use clock::Rng;
use crypto::Key32;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Replica, Session, TestApp};
use crate::process::{Settings, run, run_with, stderr, stdout, with};

/// The ring that the command makes of the one in these settings, and what it says besides.
async fn rotate(settings: &Settings, args: &[&str]) -> (String, String) {
    let args = [&["keys", "rotate"], args].concat();
    let output = run(settings, &args).await;
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    let line = stdout(&output);
    let (_, ring) = line.trim().split_once('=').expect("it is a setting");
    (ring.to_owned(), stderr(&output))
}

fn ring(settings: &Settings) -> Vec<String> {
    let keys = settings["JWT_SIGNING_KEYS"].split(',');
    keys.map(str::to_owned).collect()
}

async fn key_ids(replica: &Replica) -> Vec<String> {
    let set = replica
        .call(Method::GET, "/.well-known/jwks.json", None, None)
        .await;
    let keys = set.body["keys"].as_array().expect("it is a list").clone();
    let id = |key: &Value| key["kid"].as_str().expect("it is text").to_owned();
    keys.iter().map(id).collect()
}

async fn sign_in_at(replica: &Replica) -> Session {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = replica
        .call(Method::POST, "/api/v1/auth/login", None, Some(body))
        .await;
    answer.assert_status(200);
    Session {
        replica: replica.clone(),
        tokens: answer.body,
    }
}

/// Whether a token that `at` gives out now is taken by both.
async fn is_taken_everywhere(at: &Replica, other: &Replica) -> bool {
    let session = sign_in_at(at).await;
    let mut taken = true;
    for replica in [at, other] {
        let access = session.access();
        let answer = replica
            .call(Method::GET, "/api/v1/users/me", Some(access), None)
            .await;
        taken &= answer.status == 200;
    }
    taken
}

#[tokio::test]
async fn no_step_of_a_rotation_refuses_anybody_while_replicas_restart_one_by_one() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let mut settings = app.settings.clone();
    let mut present = app.replica.clone();
    let first = sign_in_at(&present).await;
    let [old] = &key_ids(&present).await[..] else {
        panic!("there is one key")
    };
    for step in ["add", "promote", "drop"] {
        let (ring, advice) = rotate(&settings, &["--step", step]).await;
        assert!(!ring.split(',').any(|key| advice.contains(key)), "{advice}");
        settings.insert("JWT_SIGNING_KEYS".to_owned(), ring.clone());
        // Half way through a rolling restart: one replica as before, one as after.
        let next = app
            .another_replica_with(&[("JWT_SIGNING_KEYS", &ring)])
            .await;
        assert!(
            is_taken_everywhere(&present, &next).await,
            "{step}: given out before"
        );
        assert!(
            is_taken_everywhere(&next, &present).await,
            "{step}: given out after"
        );
        let ids = key_ids(&next).await;
        match step {
            "add" => assert!(ids.len() == 2 && ids[0] == *old, "{ids:?}"),
            "promote" => assert!(ids.len() == 2 && ids[1] == *old, "{ids:?}"),
            _ => assert!(ids.len() == 1 && ids[0] != *old, "{ids:?}"),
        }
        let still = first
            .replica
            .call(Method::GET, "/api/v1/users/me", None, None);
        still.await.assert_problem(401, "unauthenticated");
        let old_token = next
            .call(Method::GET, "/api/v1/users/me", Some(first.access()), None)
            .await;
        let wanted = if step == "drop" { 401 } else { 200 };
        old_token.assert_status(wanted);
        present = next;
    }
    // Whoever was signed in all along goes on, under the new key.
    present
        .refresh(first.refresh_token())
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_new_key_in_front_at_once_would_refuse_people_at_replicas_that_do_not_know_it() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let old = app.settings["JWT_SIGNING_KEYS"].clone();
    let new = Key32::new(Rng::system().bytes()).encode();
    let ring = format!("{new},{old}");
    let next = app
        .another_replica_with(&[("JWT_SIGNING_KEYS", &ring)])
        .await;
    assert!(is_taken_everywhere(&app.replica, &next).await);
    assert!(
        !is_taken_everywhere(&next, &app.replica).await,
        "so the steps are needed"
    );
}

#[tokio::test]
async fn a_ring_in_a_file_is_read_and_written_as_one_and_its_status_has_no_key() {
    let app = TestApp::new().await;
    let folder = std::env::temp_dir().join(Key32::new(Rng::system().bytes()).encode());
    std::fs::create_dir(&folder).expect("there is room");
    let path = |name: &str| folder.join(name).to_str().expect("it is text").to_owned();
    let old = app.settings["JWT_SIGNING_KEYS"].clone();
    let [present, next] = ["present", "next"].map(path);
    std::fs::write(&present, format!("{old}\n")).expect("there is room");
    let mut settings = with(&app.settings, &[("JWT_SIGNING_KEYS_FILE", &present)]);
    settings.remove("JWT_SIGNING_KEYS");

    let args = ["keys", "rotate", "--step", "add", "--out", &next];
    let output = run(&settings, &args).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "the ring is in the file alone");
    let mode = std::fs::metadata(&next)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(&next).expect("it is text");
    assert!(
        written.starts_with(&format!("{old},")),
        "the old key signs as before"
    );
    let again = run(&settings, &args).await;
    assert_eq!(
        again.status.code(),
        Some(1),
        "what is there is not overwritten"
    );
    assert_eq!(std::fs::read_to_string(&next).expect("it is text"), written);

    settings.insert("JWT_SIGNING_KEYS_FILE".to_owned(), next);
    let output = run(&settings, &["keys", "status"]).await;
    let reported = stdout(&output) + &stderr(&output);
    let lines: Vec<_> = reported.lines().map(str::to_owned).collect();
    let [id] = &key_ids(&app.replica).await[..] else {
        panic!("there is one key")
    };
    assert_eq!(
        lines[..2],
        [
            "JWT_SIGNING_KEYS".to_owned(),
            format!("{id}  signs and verifies")
        ]
    );
    assert!(
        lines.len() == 3 && lines[2].ends_with("  verifies"),
        "{reported}"
    );
    for key in written.trim().split(',') {
        assert!(!reported.contains(key), "{reported}");
    }
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

#[tokio::test]
async fn a_step_that_cannot_be_taken_says_why() {
    let app = TestApp::new().await;
    let refused = async |args: &[&str]| {
        let args = [&["keys", "rotate", "--step"], args].concat();
        let output = run(&app.settings, &args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(stdout(&output), "");
        stderr(&output)
    };
    assert!(refused(&["promote"]).await.contains("--step add"));
    assert!(refused(&["drop"]).await.contains("one key only"));

    let (added, _) = rotate(&app.settings, &["--ring", "encryption", "--step", "add"]).await;
    assert_eq!(
        added.split(',').next(),
        Some(&*app.settings["ENCRYPTION_KEYS"])
    );
    let two = with(&app.settings, &[("ENCRYPTION_KEYS", &added)]);
    let (promoted, _) = rotate(&two, &["--ring", "encryption", "--step", "promote"]).await;
    assert_eq!(
        promoted.split(',').next_back(),
        Some(&*app.settings["ENCRYPTION_KEYS"])
    );

    let faulty = with(&app.settings, &[("JWT_SIGNING_KEYS", "hunter2")]);
    for command in ["status", "rotate"] {
        let step = if command == "rotate" {
            &["--step", "add"][..]
        } else {
            &[]
        };
        let output = run(&faulty, &[&["keys", command], step].concat()).await;
        let reported = stderr(&output);
        assert!(
            reported.contains("JWT_SIGNING_KEYS: ") && !reported.contains("hunter2"),
            "{reported}"
        );
    }
    assert_eq!(ring(&app.settings).len(), 1);
}

#[tokio::test]
async fn the_first_administrator_is_made_at_the_command_line() {
    let app = TestApp::new().await;
    let make = async |args: &[&str], password: &str| {
        let args = [&["users", "create-admin", "--email"], args].concat();
        let output = run_with(&app.settings, &args, &format!("{password}\n")).await;
        let reported = stdout(&output) + &stderr(&output);
        assert!(
            !reported.contains(PASSWORD),
            "the password is shown: {reported}"
        );
        (output.status.code(), reported)
    };
    assert_eq!(
        make(&["root@example.com"], PASSWORD).await,
        (Some(0), String::new())
    );
    let root = app.log_in("root@example.com").await;
    root.get("/api/v1/admin/users").await.assert_status(200);

    let (code, reported) = make(&["root@example.com"], PASSWORD).await;
    assert!(
        code == Some(3) && reported.contains("--promote"),
        "{reported}"
    );
    assert_eq!(
        make(&["root@example.com", "--promote"], "").await.0,
        Some(0)
    );
    assert_eq!(app.audited("role_changed").await, 0, "nothing has changed");

    app.register("ada@example.com").await;
    let (code, reported) = make(&["ada@example.com", "--promote"], "").await;
    assert!(
        code == Some(4) && reported.contains("not verified"),
        "{reported}"
    );
    let bob = app.sign_in("bob").await;
    bob.get("/api/v1/admin/users")
        .await
        .assert_problem(403, "forbidden");
    assert_eq!(
        make(&["bob@example.com", "--promote"], "").await,
        (Some(0), String::new())
    );
    bob.get("/api/v1/admin/users").await.assert_status(200);
    assert_eq!(app.audited("role_changed").await, 1);
    let shut = bob.user_id().await;
    let path = format!("/api/v1/admin/users/{shut}");
    root.patch(&path, json!({ "disabled": true, "password": PASSWORD }))
        .await
        .assert_status(200);
    let (code, reported) = make(&["bob@example.com", "--promote"], "").await;
    assert!(
        code == Some(4) && reported.contains("disabled"),
        "{reported}"
    );

    assert_eq!(
        make(&["new@example.com", "--promote"], PASSWORD).await.0,
        Some(0)
    );
    app.log_in("new@example.com").await;
    app.run_jobs().await;
    for (email, password) in [
        ("nonsense", PASSWORD),
        ("eve@example.com", "short"),
        ("eve@example.com", ""),
    ] {
        let (code, reported) = make(&[email], password).await;
        assert!(
            code == Some(1) && !reported.is_empty(),
            "{email} {password}: {reported}"
        );
    }
}
