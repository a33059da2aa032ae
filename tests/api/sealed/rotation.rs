//! Rotation of the encryption keys at the command line: no key is dropped that a row needs.

use groundwork::sealed::{IDEMPOTENT_REPLIES, TOTP_SECRETS};
use serde_json::json;

use crate::harness::TestApp;
use crate::organisations::ORGANISATIONS;
use crate::process::{Settings, run, stderr, stdout, with};

/// A key that no ring of the tests has.
pub const fn another_key() -> &'static str {
    "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8"
}

/// Standard output and standard error of a command that exits with this code.
async fn keys(settings: &Settings, args: &[&str], code: i32) -> (String, String) {
    let args = [&["keys"], args].concat();
    let output = run(settings, &args).await;
    let (out, beside) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out} {beside}");
    (out, beside)
}

async fn rotate(settings: &Settings, step: &str) -> Settings {
    let args = ["rotate", "--ring", "encryption", "--step", step];
    let (line, _) = keys(settings, &args, 0).await;
    let (_, ring) = line.trim().split_once('=').expect("it is a setting");
    with(settings, &[("ENCRYPTION_KEYS", ring)])
}

const STATUS: [&str; 3] = ["status", "--ring", "encryption"];
const DROP: [&str; 5] = ["rotate", "--ring", "encryption", "--step", "drop"];

#[tokio::test]
async fn an_encryption_key_is_dropped_after_every_row_is_under_another() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let grace = app.sign_in("grace").await;
    let body = json!({ "name": "Acme", "slug": "acme" });
    let created = grace.post_once("k-1", ORGANISATIONS, &body).await;
    created.assert_status(201);

    let (before, _) = keys(&app.settings, &STATUS, 0).await;
    let lines: Vec<_> = before.lines().collect();
    let old = lines[1].split(' ').next().expect("it has an id").to_owned();
    for column in [TOTP_SECRETS, IDEMPOTENT_REPLIES] {
        assert!(
            lines.contains(&&*format!("{column}: 1 under {old}")),
            "{before}"
        );
    }
    let settings = rotate(&app.settings, "add").await;
    let settings = rotate(&settings, "promote").await;
    let (out, refused) = keys(&settings, &DROP, 1).await;
    assert!(
        out.is_empty() && refused.contains(&old) && refused.contains("keys reseal"),
        "{refused}"
    );

    let (resealed, _) = keys(&settings, &["reseal"], 0).await;
    for column in [TOTP_SECRETS, IDEMPOTENT_REPLIES] {
        let line = format!("{column}: 1 rows re-encrypted, ");
        assert!(resealed.contains(&line), "{resealed}");
    }
    let (status, _) = keys(&settings, &STATUS, 0).await;
    assert!(
        status.contains(&format!("{TOTP_SECRETS}: 1 under "))
            && status.contains(&format!(", 0 under {old}")),
        "{status}"
    );
    let (again, _) = keys(&settings, &["reseal"], 0).await;
    assert!(
        again.contains(": 0 rows re-encrypted, 0 rows/s, done"),
        "{again}"
    );
    let (ring, advice) = keys(&settings, &DROP, 0).await;
    assert!(advice.contains("Keep a copy"), "{advice}");
    let ring = ring.trim().strip_prefix("ENCRYPTION_KEYS=");
    let dropped = [("ENCRYPTION_KEYS", ring.expect("it is the setting"))];
    assert!(!dropped[0].1.contains(','));

    let replica = app.another_replica_with(&dropped).await;
    let mut grace = grace;
    grace.replica = replica.clone();
    let replayed = grace.post_once("k-1", ORGANISATIONS, &body).await;
    assert_eq!(replayed.bytes, created.bytes);
    let token = app.ask(&ada.email).await;
    let code = ada.app.code(&app);
    let proved = crate::mfa::try_code_at(&replica, &token, &code).await;
    proved.assert_status(200);

    // The ring of before does not know the key that all rows are under.
    let reported = doctor(&app.settings).await;
    let fault = "FAULT  encryption keys of stored values: mfa_factors.secret: 0 under ";
    assert!(
        reported.contains(fault) && reported.contains("which is not in the ring"),
        "{reported}"
    );
    let reported = doctor(&with(&app.settings, &dropped)).await;
    let found = "ok     encryption keys of stored values: mfa_factors.secret: 1 under ";
    assert!(reported.contains(found), "{reported}");
    let (_, failed) = keys(&app.settings, &["reseal"], 1).await;
    assert!(
        failed.contains("2 value(s) cannot be decrypted"),
        "{failed}"
    );
    assert_eq!(app.audited("decryption_failed").await, 2);
    app.run_jobs().await;
}

async fn doctor(settings: &Settings) -> String {
    stdout(&run(settings, &["doctor"]).await)
}
