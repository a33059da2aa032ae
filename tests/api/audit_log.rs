//! Reading the audit log: one's own, and as an administrator all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Session, TestApp};

const OWN: &str = "/api/v1/audit-log";
const ALL: &str = "/api/v1/admin/audit-log";

impl Session {
    async fn records(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        answer.assert_status(200);
        answer.body["items"]
            .as_array()
            .expect("it is a list")
            .clone()
    }
}

fn events(records: &[Value]) -> Vec<&str> {
    let name = |record: &Value| record["event"].as_str().map(str::to_owned);
    assert!(records.iter().all(|record| name(record).is_some()));
    records
        .iter()
        .filter_map(|record| record["event"].as_str())
        .collect()
}

#[tokio::test]
async fn one_reads_what_happened_to_ones_own_account_the_newest_first() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_in("grace").await;
    app.clock.advance(Duration::from_secs(1));
    let wrong = json!({ "email": "ada@example.com", "password": "wrong password, and long" });
    app.post("/api/v1/auth/login", wrong)
        .await
        .assert_status(401);
    app.clock.advance(Duration::from_secs(1));
    let changed = ada
        .patch("/api/v1/users/me", json!({ "first_name": "Ada" }))
        .await;
    changed.assert_status(200);

    let records = ada.records(OWN).await;
    assert_eq!(records.len(), 5, "{records:?}");
    assert_eq!(events(&records)[..2], ["profile_changed", "sign_in_failed"]);
    let request_id = changed.headers["x-request-id"]
        .to_str()
        .expect("it is text");
    let newest = json!({
        "id": records[0]["id"], "created_at": "2026-03-14T09:26:55Z", "event": "profile_changed",
        "done_by": "owner", "session_id": records[0]["session_id"], "request_id": request_id,
        "ip": "127.0.0.1", "user_agent": null, "detail": records[0]["detail"],
    });
    assert_eq!(records[0], newest);
    assert_eq!(records[0]["detail"]["fields"], json!(["first_name"]));
    assert_eq!(records[1]["done_by"], "unknown");
    for text in [PASSWORD, "wrong password", "@example.com"] {
        assert!(
            !json!(records).to_string().contains(text),
            "{text} is in the log"
        );
    }
    app.get(OWN).await.assert_problem(401, "unauthenticated");
    let foreign = ada.get(&format!("{OWN}?user_id=x")).await;
    foreign.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn what_the_client_called_itself_is_kept() {
    let app = TestApp::new().await;
    let email = app.sign_up("ada").await;
    app.clock.advance(Duration::from_secs(1));
    let login = app
        .replica
        .request(reqwest::Method::POST, "/api/v1/auth/login")
        .header("user-agent", "Browser of Ada")
        .json(&json!({ "email": email, "password": PASSWORD }));
    let answer = app
        .replica
        .send(&reqwest::Method::POST, "/api/v1/auth/login", login)
        .await;
    let ada = Session {
        replica: app.replica.clone(),
        tokens: answer.body,
    };
    assert_eq!(ada.records(OWN).await[0]["user_agent"], "Browser of Ada");
}

#[tokio::test]
async fn of_an_administrators_act_its_subject_learns_that_and_what_but_not_who_and_why() {
    let app = TestApp::new().await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let id = ada.user_id().await;
    let path = format!("/api/v1/admin/users/{id}");
    for changes in [
        json!({ "disabled": true, "reason": "sends spam" }),
        json!({ "disabled": false, "password": PASSWORD }),
    ] {
        app.clock.advance(Duration::from_secs(1));
        root.patch(&path, changes).await.assert_status(200);
    }
    app.clock.advance(Duration::from_secs(1));
    let ada = app.log_in("ada@example.com").await;
    let records = ada.records(OWN).await;
    assert_eq!(
        events(&records)[1..3],
        ["account_enabled", "account_disabled"]
    );
    let seen = &records[2];
    assert_eq!(seen["done_by"], "administrator");
    assert_eq!(
        seen["detail"],
        json!({ "from": "enabled", "to": "disabled" })
    );
    for hidden in ["ip", "user_agent", "session_id"] {
        assert_eq!(seen[hidden], Value::Null, "{hidden}");
    }
    let reported = json!(records).to_string();
    let root_id = root.user_id().await;
    assert!(
        !reported.contains(&root_id) && !reported.contains("spam"),
        "{reported}"
    );
    // What administrators do is on record with the account it was done to, not with their own.
    assert!(!events(&root.records(OWN).await).contains(&"account_disabled"));
}

#[tokio::test]
async fn administrators_read_all_of_it_by_who_whom_what_and_when() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    app.clock.advance(Duration::from_mins(5));
    let ada = app.sign_in("ada").await;
    let (root_id, ada_id) = (root.user_id().await, ada.user_id().await);
    let ended = app
        .replica
        .call(
            reqwest::Method::DELETE,
            &format!("/api/v1/admin/users/{ada_id}/sessions"),
            Some(root.access()),
            None,
        )
        .await;
    ended.assert_status(204);
    let request = ended.headers["x-request-id"].to_str().expect("it is text");
    let [by_root, by_request, on_ada, late, early, sign_ins, none] = [
        format!("{ALL}?actor_id={root_id}&from=2026-03-14T09:30:00Z"),
        format!("{ALL}?request_id={request}"),
        format!("{ALL}?user_id={ada_id}"),
        format!("{ALL}?from=2026-03-14T09:31:53Z"),
        format!("{ALL}?to=2026-03-14T09:31:53Z"),
        format!("{ALL}?event=signed_in"),
        format!("{ALL}?event=signed_in&request_id={request}"),
    ];
    assert_eq!(
        events(&root.records(&by_root).await),
        ["sessions_ended_by_admin"]
    );
    let record = &root.records(&by_request).await[0];
    assert_eq!(
        (&record["actor_id"], &record["user_id"]),
        (&json!(root_id), &json!(ada_id))
    );
    let ada_records = root.records(&on_ada).await;
    assert_eq!(ada_records.len(), 4, "{ada_records:?}");
    assert!(
        ada_records
            .iter()
            .all(|record| record["user_id"] == json!(ada_id))
    );
    let late = events(&root.records(&late).await).len();
    assert_eq!(late, 4 + 3, "three reads of the log among them");
    assert_eq!(root.records(&early).await.len(), 3);
    assert_eq!(root.records(&sign_ins).await.len(), 2);
    assert!(root.records(&none).await.is_empty());

    let long = format!("request_id={}", "a".repeat(65));
    for (query, field) in [
        ("event=unheard_of", "event"),
        ("user_id=x", "user_id"),
        ("from=yesterday", "from"),
        ("request_id=%00", "request_id"),
        ("request_id=", "request_id"),
        ("request_id=a%20b", "request_id"),
        (long.as_str(), "request_id"),
        ("who=ada", "who"),
    ] {
        let refused = root.get(&format!("{ALL}?{query}")).await;
        refused.assert_problem(400, "bad_request");
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn pages_lead_through_the_whole_log_across_months() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let insert = "INSERT INTO audit_log (id, created_at, event, user_id)
        SELECT gen_random_uuid(), now() - (n / 3) * interval '20 days', 'signed_in', users.id
        FROM users, generate_series(0, 29) AS n";
    sqlx::raw_sql(insert)
        .execute(&app.owner_db)
        .await
        .expect("they are written");
    let (mut seen, mut path) = (Vec::new(), format!("{OWN}?limit=7"));
    loop {
        let page = ada.get(&path).await;
        page.assert_status(200);
        seen.extend(page.body["items"].as_array().expect("it is a list").clone());
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        path = format!("{OWN}?limit=7&cursor={next}");
    }
    let moments: Vec<_> = seen
        .iter()
        .map(|record| record["created_at"].to_string())
        .collect();
    assert!(moments.is_sorted_by(|a, b| a >= b), "{moments:?}");
    let mut ids: Vec<_> = seen.iter().map(|record| record["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((seen.len(), ids.len()), (33, 33));
}

#[tokio::test]
async fn the_service_itself_can_only_add_to_the_log() {
    let app = TestApp::new().await;
    app.sign_in("ada").await;
    for sql in [
        "UPDATE audit_log SET event = 'forged'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DROP TABLE audit_log",
        "DELETE FROM audit_log_default",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    ] {
        let refused = sqlx::raw_sql(sql).execute(&app.state.db).await;
        let refused = refused.expect_err(sql).to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{sql}: {refused}"
        );
    }
    assert_eq!(app.audited("signed_in").await, 1);
}
