//! Looking after other people's accounts.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Replica, Session, TestApp};

const USERS: &str = "/api/v1/admin/users";

/// Waits that no busy machine makes too long, so that a race is refused for a deadlock alone.
const LONG_TIMEOUTS: &[(&str, &str)] = &[
    ("DB_LOCK_TIMEOUT", "30s"),
    ("DB_POOL_TIMEOUT", "30s"),
    ("HTTP_REQUEST_TIMEOUT", "60s"),
];

/// Every administrative route: its method, its path, and a body where it takes one.
fn routes(id: &str) -> [(Method, String, Option<Value>); 7] {
    let own = format!("{USERS}/{id}");
    [
        (Method::GET, USERS.to_owned(), None),
        (Method::GET, own.clone(), None),
        (Method::PATCH, own.clone(), Some(json!({ "role": "admin" }))),
        (Method::GET, format!("{own}/sessions"), None),
        (Method::DELETE, format!("{own}/sessions"), None),
        (Method::GET, "/api/v1/admin/audit-log".to_owned(), None),
        (Method::GET, "/api/v1/admin/stats".to_owned(), None),
    ]
}

impl TestApp {
    /// Somebody signed in who is an administrator.
    pub async fn sign_in_admin(&self, name: &str) -> Session {
        let session = self.sign_in(name).await;
        self.set(name, "role = 'admin'").await;
        session
    }

    async fn set(&self, name: &str, what: &str) {
        let sql = format!("UPDATE users SET {what} WHERE email = '{name}@example.com'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.state.db)
            .await
            .expect("the account is there");
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.state.db)
            .await
            .expect("it is a count")
    }

    /// The newest entry of the log about this event, as an administrator sees it.
    async fn last_record(&self, admin: &Session, event: &str) -> Value {
        let path = format!("/api/v1/admin/audit-log?limit=1&event={event}");
        let answer = admin.get(&path).await;
        answer.assert_status(200);
        answer.body["items"][0].clone()
    }

    async fn admins(&self) -> i64 {
        self.count("SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL")
            .await
    }
}

impl Session {
    /// Whose session it is.
    pub async fn user_id(&self) -> String {
        let me = self.get("/api/v1/users/me").await;
        me.body["id"].as_str().expect("it is an id").to_owned()
    }

    async fn change(&self, id: &str, mut changes: Value) -> Answer {
        if let Some(body) = changes.as_object_mut() {
            body.insert("password".to_owned(), PASSWORD.into());
        }
        self.patch(&format!("{USERS}/{id}"), changes).await
    }

    async fn end_sessions_of(&self, id: &str) -> Answer {
        let path = format!("{USERS}/{id}/sessions");
        self.on(&self.replica, Method::DELETE, &path, None).await
    }

    /// A call of this session to any replica.
    async fn on(
        &self,
        replica: &Replica,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        replica.call(method, path, Some(self.access()), body).await
    }

    /// The addresses that a search finds, in order.
    async fn find(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("{USERS}?{query}")).await;
        answer.assert_status(200);
        let items = answer.body["items"].as_array().expect("it is a list");
        let name = |item: &Value| item["email"].as_str().expect("it is text").to_owned();
        items
            .iter()
            .map(name)
            .map(|email| email.trim_end_matches("@example.com").to_owned())
            .collect()
    }
}

#[tokio::test]
async fn every_administrative_route_is_for_administrators_alone() {
    let app = TestApp::new().await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let id = ada.user_id().await;
    for (method, path, body) in routes(&id) {
        let replica = &app.replica;
        let nobody = replica
            .call(method.clone(), &path, None, body.clone())
            .await;
        nobody.assert_problem(401, "unauthenticated");
        let user = ada.on(replica, method.clone(), &path, body.clone()).await;
        user.assert_problem(403, "forbidden");
    }
    assert_eq!(app.admins().await, 1, "nobody has promoted themselves");

    // The door answers before anything of the request is read.
    let junk = ada.change("nonsense", json!([1])).await;
    junk.assert_problem(403, "forbidden");
    let unread = ada.get(&format!("{USERS}?limit=1000")).await;
    unread.assert_problem(403, "forbidden");

    // And asks each time, not the token.
    app.set("root", "role = 'user'").await;
    root.get(USERS).await.assert_problem(403, "forbidden");
    app.set("root", "role = 'admin'").await;
    root.get(USERS).await.assert_status(200);
    app.set("root", "disabled_at = now()").await;
    root.get(USERS).await.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn administrators_can_be_required_to_have_a_second_factor() {
    let app = TestApp::with(&[("MFA_REQUIRED", "admins")]).await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let id = root.user_id().await;
    let insert = "INSERT INTO mfa_factors (user_id, secret, created_at) SELECT id, '\\x00', now() FROM users";
    sqlx::raw_sql(insert)
        .execute(&app.owner_db)
        .await
        .expect("it is stored");
    for (method, path, body) in routes(&id) {
        let answer = root.on(&app.replica, method, &path, body).await;
        answer.assert_problem(403, "mfa_required");
    }
    ada.get(USERS).await.assert_problem(403, "forbidden");
    root.get("/api/v1/users/me").await.assert_status(200);

    let confirm = "UPDATE mfa_factors SET confirmed_at = now()";
    sqlx::raw_sql(confirm)
        .execute(&app.owner_db)
        .await
        .expect("it is stored");
    root.get(USERS).await.assert_status(200);
}

#[tokio::test]
async fn accounts_are_found_by_what_they_begin_with_and_by_their_state() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    for (name, first, last) in [
        ("ada", "Ada", "Lovelace"),
        ("adam", "Adam", "Smith"),
        ("grace", "Grace", "Hopper"),
        ("a_b", "100%", "Sure"),
        ("axb", "Émilie", "du Châtelet"),
    ] {
        app.clock.advance(Duration::from_secs(1));
        app.sign_up(name).await;
        app.set(
            name,
            &format!("first_name = '{first}', last_name = '{last}'"),
        )
        .await;
    }
    app.set("adam", "disabled_at = now(), disabled_reason = 'spam'")
        .await;
    app.set("grace", "email_verified_at = NULL").await;

    for (query, found) in [
        ("", &["axb", "a_b", "grace", "adam", "ada", "root"][..]),
        ("search=ad", &["adam", "ada"]),
        ("search=ADA%40Example.com", &["ada"]),
        ("search=ada+love", &["ada"]),
        ("search=hopp", &["grace"]),
        ("search=%C3%89MIL", &["axb"]),
        ("search=a_", &["a_b"]),
        ("search=100%25", &["a_b"]),
        ("search=%25", &[]),
        ("search=_", &[]),
        ("search=%5C", &[]),
        ("search='%20OR%20true%20--", &[]),
        ("search=example", &[]),
        ("role=admin", &["root"]),
        ("disabled=true", &["adam"]),
        (
            "disabled=false&verified=true",
            &["axb", "a_b", "ada", "root"],
        ),
        ("verified=false", &["grace"]),
        ("search=a&disabled=false&role=user", &["axb", "a_b", "ada"]),
    ] {
        assert_eq!(root.find(query).await, found, "{query}");
    }
    let adam = root.get(&format!("{USERS}?disabled=true")).await.body["items"][0].clone();
    assert_eq!(adam["disabled_reason"], "spam");
    assert!(adam.get("password_hash").is_none());
    for (query, field) in [
        ("search=", "search"),
        ("search=a%00", "search"),
        ("role=root", "role"),
        ("disabled=yes", "disabled"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("sort=email", "sort"),
    ] {
        let refused = root.get(&format!("{USERS}?{query}")).await;
        refused.assert_problem(400, "bad_request");
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn pages_lead_through_all_accounts_while_some_are_made() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let insert = "INSERT INTO users (id, email, password_hash, created_at, updated_at)
        SELECT gen_random_uuid(), 'u' || n || '@example.com', 'x', '2026-01-01Z', now() FROM generate_series(1, 24) AS n";
    sqlx::raw_sql(insert)
        .execute(&app.owner_db)
        .await
        .expect("they are made");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = root.get(&format!("{USERS}?limit=10{cursor}")).await;
        page.assert_status(200);
        seen.extend(page.body["items"].as_array().expect("it is a list").clone());
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
        app.clock.advance(Duration::from_secs(1));
        app.sign_up(&format!("late{}", seen.len())).await;
    }
    let mut ids: Vec<_> = seen.iter().map(|item| item["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(
        (seen.len(), ids.len()),
        (25, 25),
        "each one once, also of one moment"
    );
}

#[tokio::test]
async fn a_disabled_account_is_rejected_at_once_and_can_be_enabled_again() {
    let app = TestApp::new().await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let elsewhere = app.another_replica().await;
    let id = ada.user_id().await;
    app.post(
        "/api/v1/auth/forgot-password",
        json!({ "email": "ada@example.com" }),
    )
    .await;
    let link = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");

    let answer = root
        .change(&id, json!({ "disabled": true, "reason": " sends spam " }))
        .await;
    answer.assert_status(200);
    assert_eq!(answer.body["disabled_at"], "2026-03-14T09:26:53Z");
    assert_eq!(answer.body["disabled_reason"], "sends spam");
    assert!(!ada.is_signed_in().await);
    let there = ada
        .on(&elsewhere, Method::GET, "/api/v1/users/me", None)
        .await;
    there.assert_problem(401, "unauthenticated");
    for replica in [&app.replica, &elsewhere] {
        let refresh = replica.refresh(ada.refresh_token()).await;
        refresh.assert_problem(401, "invalid_refresh_token");
    }
    let log_in = async |password: &str| {
        let body = json!({ "email": "ada@example.com", "password": password });
        app.post("/api/v1/auth/login", body).await
    };
    log_in(PASSWORD)
        .await
        .assert_problem(403, "account_disabled");
    log_in("wrong password, and long")
        .await
        .assert_problem(401, "invalid_credentials");
    assert_eq!(app.audited("sign_in_refused").await, 1);

    let messages = app.inbox.emails_to("ada@example.com").len();
    app.post(
        "/api/v1/auth/forgot-password",
        json!({ "email": "ada@example.com" }),
    )
    .await
    .assert_status(202);
    app.run_jobs().await;
    assert_eq!(
        app.inbox.emails_to("ada@example.com").len(),
        messages,
        "no message is sent"
    );
    let reset = json!({ "token": link, "password": "another good and long one" });
    let refused = app.post("/api/v1/auth/reset-password", reset.clone()).await;
    refused.assert_problem(422, "invalid_token");

    let answer = root.change(&id, json!({ "disabled": false })).await;
    answer.assert_status(200);
    assert_eq!(
        (&answer.body["disabled_at"], &answer.body["disabled_reason"]),
        (&Value::Null, &Value::Null)
    );
    assert!(!ada.is_signed_in().await, "what has ended stays so");
    let refused = app.post("/api/v1/auth/reset-password", reset).await;
    refused.assert_problem(422, "invalid_token");
    log_in(PASSWORD).await.assert_status(200);

    let disabled = app.last_record(&root, "account_disabled").await;
    let root_id = root.user_id().await;
    assert_eq!(
        (&disabled["user_id"], &disabled["actor_id"]),
        (&json!(id), &json!(root_id))
    );
    assert_eq!(
        disabled["request_id"].as_str().map(str::is_empty),
        Some(false)
    );
    assert_eq!(disabled["ip"], "127.0.0.1");
    let detail =
        json!({ "from": "enabled", "to": "disabled", "reason": "sends spam", "sessions": 1 });
    assert_eq!(disabled["detail"], detail);
    let enabled = app.last_record(&root, "account_enabled").await;
    assert_eq!(
        enabled["detail"],
        json!({ "from": "disabled", "to": "enabled", "reason": "sends spam" })
    );
}

#[tokio::test]
async fn no_session_begins_while_its_account_is_being_disabled() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let ada = app.sign_in("ada").await;
    let id = ada.user_id().await;
    let other = app.another_replica().await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let sign_ins = (0..19).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        replica.call(Method::POST, "/api/v1/auth/login", None, Some(body.clone()))
    });
    let (answers, changed) = tokio::join!(
        join_all(sign_ins),
        root.change(&id, json!({ "disabled": true }))
    );
    changed.assert_status(200);
    for answer in &answers {
        assert!(
            matches!(answer.status.as_u16(), 200 | 403),
            "{}",
            answer.status
        );
    }
    let living = "SELECT count(*) FROM sessions JOIN users ON users.id = user_id
        WHERE email = 'ada@example.com' AND ended_at IS NULL";
    assert_eq!(app.count(living).await, 0);
}

#[tokio::test]
async fn a_role_is_given_and_taken_and_both_are_noted() {
    let app = TestApp::new().await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let id = ada.user_id().await;
    let promoted = root.change(&id, json!({ "role": "admin" })).await;
    promoted.assert_status(200);
    assert_eq!(promoted.body["role"], "admin");
    ada.get(USERS).await.assert_status(200);
    root.change(&id, json!({ "role": "admin" }))
        .await
        .assert_status(200);
    assert_eq!(
        app.audited("role_changed").await,
        1,
        "what stays is not noted"
    );
    let record = app.last_record(&root, "role_changed").await;
    assert_eq!(record["detail"], json!({ "from": "user", "to": "admin" }));

    let root_id = root.user_id().await;
    ada.change(&root_id, json!({ "role": "user" }))
        .await
        .assert_status(200);
    root.get(USERS).await.assert_problem(403, "forbidden");

    app.register("pending@example.com").await;
    app.run_jobs().await;
    let pending = ada.get(&format!("{USERS}?search=pending")).await.body["items"][0]["id"].clone();
    let pending = pending.as_str().expect("it is an id");
    ada.change(pending, json!({ "role": "admin" }))
        .await
        .assert_problem(409, "conflict");
    ada.change(&root_id, json!({ "disabled": true }))
        .await
        .assert_status(200);
    ada.change(&root_id, json!({ "role": "admin" }))
        .await
        .assert_problem(409, "conflict");
}

#[tokio::test]
async fn the_last_administrator_can_do_nothing_about_it() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let id = root.user_id().await;
    root.change(&id, json!({ "role": "user" }))
        .await
        .assert_problem(409, "last_admin");
    root.change(&id, json!({ "disabled": true }))
        .await
        .assert_problem(409, "last_admin");

    let ada = app.sign_in_admin("ada").await;
    root.change(&id, json!({ "disabled": true }))
        .await
        .assert_problem(409, "conflict");
    app.set("ada", "disabled_at = now()").await;
    // One who is shut out does not count.
    root.change(&id, json!({ "role": "user" }))
        .await
        .assert_problem(409, "last_admin");
    app.set("ada", "disabled_at = NULL").await;
    root.change(&id, json!({ "role": "user" }))
        .await
        .assert_status(200);
    let ada_id = ada.user_id().await;
    ada.change(&ada_id, json!({ "role": "user" }))
        .await
        .assert_problem(409, "last_admin");
    assert_eq!(app.admins().await, 1);
}

#[tokio::test]
async fn of_two_administrators_who_oust_each_other_twenty_times_one_remains() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let (ada, bob) = (
        app.sign_in_admin("ada").await,
        app.sign_in_admin("bob").await,
    );
    let (ada_id, bob_id) = (ada.user_id().await, bob.user_id().await);
    let other = app.another_replica().await;
    let answers = join_all((0..20).map(|n| {
        let (actor, target) = if n % 2 == 0 {
            (&ada, &bob_id)
        } else {
            (&bob, &ada_id)
        };
        let replica = if n % 4 < 2 { &app.replica } else { &other };
        let changes = if n % 3 == 0 {
            json!({ "disabled": true, "password": PASSWORD })
        } else {
            json!({ "role": "user", "password": PASSWORD })
        };
        let path = format!("{USERS}/{target}");
        async move { actor.on(replica, Method::PATCH, &path, Some(changes)).await }
    }))
    .await;
    for answer in &answers {
        assert!(
            matches!(answer.status.as_u16(), 200 | 401 | 403),
            "{}",
            answer.body
        );
    }
    assert_eq!(app.admins().await, 1);
}

#[tokio::test]
async fn of_twenty_administrators_who_resign_at_once_one_cannot() {
    let app = TestApp::with(LONG_TIMEOUTS).await;
    let mut admins = Vec::new();
    for n in 0..20 {
        let admin = app.sign_in_admin(&format!("admin{n}")).await;
        admins.push((admin.user_id().await, admin));
    }
    let other = app.another_replica().await;
    let answers = join_all(admins.iter().enumerate().map(|(n, (id, admin))| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        let path = format!("{USERS}/{id}");
        async move {
            let resign = Some(json!({ "role": "user", "password": PASSWORD }));
            admin.on(replica, Method::PATCH, &path, resign).await
        }
    }))
    .await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert_eq!(refused.len(), 1);
    refused[0].assert_problem(409, "last_admin");
    assert_eq!(
        (app.admins().await, app.audited("role_changed").await),
        (1, 19)
    );
}

#[tokio::test]
async fn an_accounts_sessions_are_seen_and_ended() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let (ada, again) = (
        app.sign_in("ada").await,
        app.log_in("ada@example.com").await,
    );
    let id = ada.user_id().await;
    let seen = root.get(&format!("{USERS}/{id}/sessions")).await;
    seen.assert_status(200);
    assert_eq!(seen.body["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(seen.body["items"][0]["is_current"], false);
    root.end_sessions_of(&id).await.assert_status(204);
    assert!(!ada.is_signed_in().await && !again.is_signed_in().await);
    assert!(root.is_signed_in().await);
    let seen = root.get(&format!("{USERS}/{id}/sessions")).await;
    assert_eq!(seen.body["items"], json!([]));
    let record = app.last_record(&root, "sessions_ended_by_admin").await;
    assert_eq!(record["detail"], json!({ "sessions": 2 }));
    app.log_in("ada@example.com").await;
}

#[tokio::test]
async fn what_is_not_there_or_makes_no_sense_is_refused() {
    let app = TestApp::new().await;
    let (root, ada) = (app.sign_in_admin("root").await, app.sign_in("ada").await);
    let unknown = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    root.get(&format!("{USERS}/{unknown}"))
        .await
        .assert_problem(404, "not_found");
    root.get(&format!("{USERS}/{unknown}/sessions"))
        .await
        .assert_problem(404, "not_found");
    root.end_sessions_of(unknown)
        .await
        .assert_problem(404, "not_found");
    root.change(unknown, json!({ "role": "admin" }))
        .await
        .assert_problem(404, "not_found");
    root.get(&format!("{USERS}/x"))
        .await
        .assert_problem(400, "bad_request");
    root.change("x", json!({ "role": "admin" }))
        .await
        .assert_problem(400, "bad_request");

    let id = ada.user_id().await;
    for (changes, field) in [
        (json!({}), ""),
        (json!({ "role": "root" }), "role"),
        (json!({ "disabled": "yes" }), "disabled"),
        (json!({ "disabled": true, "reason": "" }), "reason"),
        (
            json!({ "disabled": true, "reason": "x".repeat(501) }),
            "reason",
        ),
        (json!({ "disabled": true, "reason": "a\u{0}b" }), "reason"),
        (json!({ "disabled": false, "reason": "spam" }), "reason"),
        (json!({ "role": "admin", "reason": "spam" }), "reason"),
        (
            json!({ "role": "admin", "email": "eve@example.com" }),
            "email",
        ),
        (json!({ "password_hash": "x" }), "password_hash"),
    ] {
        root.change(&id, changes).await.assert_field(field);
    }
    assert!(ada.is_signed_in().await && app.admins().await == 1);
}

#[tokio::test]
async fn the_numbers_count_accounts_sign_ups_and_sessions() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    for name in ["ada", "bob", "eve"] {
        app.sign_in(name).await;
    }
    app.register("pending@example.com").await;
    app.run_jobs().await;
    app.set("bob", "disabled_at = now()").await;
    app.set("eve", "created_at = created_at - interval '29 days'")
        .await;
    app.set("ada", "created_at = created_at - interval '30 days'")
        .await;
    let answer = root.get("/api/v1/admin/stats").await;
    answer.assert_status(200);
    let counts = json!({ "total": 5, "verified": 4, "unverified": 1, "disabled": 1, "admins": 1 });
    assert_eq!(answer.body["accounts"], counts);
    assert_eq!(answer.body["living_sessions"], 4);
    let days = answer.body["sign_ups"].as_array().expect("it is a list");
    assert_eq!(days.len(), 30);
    assert_eq!(days[0], json!({ "day": "2026-02-13", "count": 1 }));
    assert_eq!(days[1], json!({ "day": "2026-02-14", "count": 0 }));
    assert_eq!(days[29], json!({ "day": "2026-03-14", "count": 3 }));
}
