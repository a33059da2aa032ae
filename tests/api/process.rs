//! The binary as an operator runs it: its own process, with its settings and no other environment.

pub mod binary;

use clap::CommandFactory as _;
use groundwork::cli::Cli;
use groundwork::config::Config;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use binary::{Server, Settings, run, run_with, stderr, stdout, with};

use crate::harness::{PASSWORD, TestApp, create_database_from, database_url, given, owner_url};

#[tokio::test]
async fn a_faulty_configuration_ends_every_command_with_all_faults_and_no_value() {
    let faulty = with(
        &Settings::new(),
        &[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "hunter2-url"),
            ("DATABASE_URL", "hunter2-database"),
            ("JWT_SIGNING_KEYS", "hunter2-key"),
            ("SMTP_URL", "hunter2-mail"),
            ("DB_POOL_SIZE", "hunter2"),
        ],
    );
    let database = ["DATABASE_URL", "DB_POOL_SIZE"];
    let others = [
        "PUBLIC_URL",
        "JWT_SIGNING_KEYS",
        "TOKEN_SECRET",
        "ENCRYPTION_KEYS",
        "SMTP_URL",
        "MAIL_FROM",
    ];
    for (args, others) in [
        (&["serve"][..], &others[..]),
        (&["worker"], &others),
        (&["doctor"], &others),
        (&["users", "create", "--email", "ada@example.com"], &others),
        (&["migrate"], &[]), // needs no more than the database
    ] {
        let output = run(&faulty, args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let report = stderr(&output);
        for name in database.iter().chain(others) {
            let line = format!("\n  {name}: ");
            assert!(
                report.contains(&line),
                "{args:?} does not name {name}: {report}"
            );
        }
        assert!(!report.contains("hunter2"), "{report}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_a_healthy_service_and_lists_every_fault_of_an_ill_one()
{
    let app = TestApp::new().await;
    let healthy = with(&app.settings, &[("REDIS_URL", &given("TEST_REDIS_URL"))]);
    let output = run(&healthy, &["doctor"]).await;
    let reported = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{reported}");
    assert!(
        !reported.contains("FAULT")
            && reported.contains("ok     database responds")
            && reported.contains("ok     row-level security is on, forced and not bypassed")
            && reported.contains("ok     list of erased users: in the log only"),
        "{reported}"
    );
    let unprotect = "ALTER TABLE api_keys DISABLE ROW LEVEL SECURITY; ALTER TABLE events NO FORCE ROW LEVEL SECURITY";
    sqlx::raw_sql(unprotect)
        .execute(&app.owner_db)
        .await
        .expect("it is changed");
    let owner = crate::harness::owner_url(app.database());
    let bypassing = with(&healthy, &[("DATABASE_URL", &owner)]);
    for (settings, fault) in [
        (&healthy, "row security of api_keys is not enabled"),
        (&healthy, "row security of events is not forced"),
        (&bypassing, "the role of DATABASE_URL bypasses row security"),
    ] {
        let output = run(settings, &["doctor"]).await;
        let reported = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{reported}");
        assert!(reported.contains(fault), "{reported}");
    }

    let ill = with(
        &app.settings,
        &[
            ("DATABASE_URL", "postgres://app:hunter2@127.0.0.1:1/app"),
            ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
            ("SMTP_URL", "smtp://ada:hunter2@127.0.0.1:1"),
            ("DATABSE_URL", "hunter2"),
        ],
    );
    let output = run(&ill, &["doctor"]).await;
    let reported = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{reported}");
    for check in [
        "variables are spelt correctly",
        "database responds",
        "redis responds",
        "mail server responds",
    ] {
        assert!(
            reported.contains(&format!("FAULT  {check}: ")),
            "{check}: {reported}"
        );
    }
    assert!(
        reported.contains("DATABSE_URL") && !reported.contains("hunter2"),
        "{reported}"
    );
}

#[tokio::test]
async fn a_container_asks_its_own_service_whether_it_is_ready() {
    let app = TestApp::new().await;
    let own = app.replica.root.authority().to_owned();
    let probe = async || {
        run(
            &with(&Settings::new(), &[("BIND_ADDR", &own)]),
            &["healthcheck"],
        )
        .await
    };
    assert_eq!(
        probe().await.status.code(),
        Some(0),
        "{}",
        stderr(&probe().await)
    );
    app.replica.draining.begin();
    assert_eq!(probe().await.status.code(), Some(1));
    let nobody = with(&Settings::new(), &[("BIND_ADDR", "127.0.0.1:1")]);
    assert_eq!(run(&nobody, &["healthcheck"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn the_document_and_new_keys_need_no_configuration() {
    let none = Settings::new();
    let document = run(&none, &["openapi"]).await;
    assert!(document.status.success(), "{}", stderr(&document));
    let document: Value = serde_json::from_slice(&document.stdout).expect("it is JSON");
    assert!(document["paths"].is_object());

    let keys = run(&none, &["keys", "generate"]).await;
    assert!(keys.status.success(), "{}", stderr(&keys));
    assert_ne!(
        stdout(&keys),
        stdout(&run(&none, &["keys", "generate"]).await)
    );
    let made: Settings = stdout(&keys)
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let production = with(
        &made,
        &[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "https://api.example.com"),
            ("DATABASE_URL", "postgres://app:8kX2pQ@db/app"),
            ("SMTP_URL", "smtps://mail.example.com"),
            ("MAIL_FROM", "Acme <hello@example.com>"),
        ],
    );
    let config = Config::read(&production);
    assert!(
        config.is_ok(),
        "production refuses generated keys: {config:?}"
    );
}

#[tokio::test]
async fn the_help_of_each_command_describes_it_and_all_its_options() {
    let mut waiting = vec![(Vec::<String>::new(), Cli::command())];
    while let Some((path, command)) = waiting.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let output = run(&Settings::new(), &args).await;
        assert!(output.status.success(), "{args:?}");
        let help = stdout(&output);
        assert!(command.get_about().is_some(), "{path:?} is not described");
        for argument in command.get_arguments() {
            let described = argument
                .get_help()
                .is_some_and(|text| !text.to_string().is_empty());
            assert!(
                described,
                "{path:?}: {} is not described",
                argument.get_id()
            );
            let name = argument.get_long().unwrap_or_default();
            assert!(
                help.contains(&format!("--{name}")),
                "{path:?}: --{name} is not in {help}"
            );
        }
        for sub in command.get_subcommands() {
            let own = [&path[..], &[sub.get_name().to_owned()]].concat();
            assert!(help.contains(sub.get_name()), "{help}");
            waiting.push((own, sub.clone()));
        }
    }
}

#[tokio::test]
async fn an_operator_makes_accounts_and_their_passwords_are_never_shown() {
    let app = TestApp::new().await;
    let create = async |args: &[&str], password: &str| {
        let args = [&["users", "create"], args].concat();
        let output = run_with(&app.settings, &args, &format!("{password}\n")).await;
        let reported = stdout(&output) + &stderr(&output);
        assert!(
            !reported.contains(password),
            "the password is shown: {reported}"
        );
        (output.status.success(), reported)
    };
    let ada = [
        "--email",
        "Ada@Example.com",
        "--verified",
        "--admin",
        "--first-name",
        "Ada",
    ];
    assert_eq!(create(&ada, PASSWORD).await, (true, String::new()));
    let me = app
        .log_in("ada@example.com")
        .await
        .get("/api/v1/users/me")
        .await;
    assert_eq!(
        (&me.body["role"], &me.body["first_name"]),
        (&json!("admin"), &json!("Ada"))
    );

    let (ok, reported) = create(&ada, "another password, much longer").await;
    assert!(!ok && reported.contains("has an account"), "{reported}");
    let again = [&ada[..], &["--if-missing"]].concat();
    assert!(create(&again, "another password, much longer").await.0);
    app.log_in("ada@example.com").await; // nothing was changed

    for (what, args, password) in [
        ("a bad address", &["--email", "ada"][..], PASSWORD),
        (
            "a weak password",
            &["--email", "eve@example.com"],
            "Password123",
        ),
        (
            "a short password",
            &["--email", "eve@example.com"],
            "hunter2",
        ),
        (
            "an admin without an address to trust",
            &["--email", "eve@example.com", "--admin"],
            PASSWORD,
        ),
        (
            "a name of two lines",
            &["--email", "eve@example.com", "--first-name", "a\nb"],
            PASSWORD,
        ),
    ] {
        let (ok, reported) = create(args, password).await;
        assert!(!ok && !reported.is_empty(), "{what} is taken");
    }
    assert!(create(&["--email", "bob@example.com"], PASSWORD).await.0);
    let token = app
        .email_to("bob@example.com")
        .await
        .token()
        .expect("the message has a link");
    app.post("/api/v1/auth/verify-email", json!({ "token": token }))
        .await
        .assert_status(204);
    app.log_in("bob@example.com").await;
    assert_eq!(app.audited("created_by_operator").await, 2);
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_sigterm_and_the_process_ends_well() {
    let app = TestApp::new().await;
    let mut server = Server::start(&app.settings, &["serve"]).await;
    let body = json!({ "email": "nobody@example.com", "password": PASSWORD }).to_string();
    let mut slow = TcpStream::connect(server.address())
        .await
        .expect("it listens");
    let head = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("it is sent");
    // Another request is answered, so the first one has been accepted before it.
    assert_eq!(
        server.call(Method::GET, "/health/live", None, None).await.0,
        200
    );

    server.terminate().await;
    let mut looks = 0;
    while server.is_listening().await {
        looks += 1;
        assert!(looks < 1_200, "the listener stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slow.write_all(body.as_bytes())
        .await
        .expect("the connection still stands");
    let mut answer = String::new();
    slow.read_to_string(&mut answer)
        .await
        .expect("it is answered in whole");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(
        answer.contains("invalid_credentials")
            && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
    assert_eq!(
        server
            .wait_for_line(|line| line["message"] == "stopped")
            .await["aborted"],
        0
    );
}

#[tokio::test]
async fn a_worker_of_its_own_sends_emails_and_ends_with_sigterm() {
    let app = TestApp::new().await;
    let server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    let new = json!({ "email": "ada@example.com", "password": PASSWORD });
    let (status, _) = server
        .call(Method::POST, "/api/v1/auth/register", None, Some(new))
        .await;
    assert_eq!(status, 202);
    assert!(app.inbox.messages().is_empty());
    let worker = Server::spawn(&app.settings, &["worker"]);
    app.inbox.wait_for_email_to("ada@example.com").await;
    for mut process in [server, worker] {
        process.terminate().await;
        assert_eq!(process.ended().await, Some(0), "{}", process.written());
    }
}

#[tokio::test]
async fn serve_can_migrate_an_empty_database_first() {
    let app = TestApp::new().await;
    let database = create_database_from("template0").await;
    let settings = with(
        &app.settings,
        &[
            ("DATABASE_URL", &database_url(&database)),
            ("DATABASE_MIGRATION_URL", &owner_url(&database)),
        ],
    );
    let mut server = Server::start(&settings, &["serve", "--migrate"]).await;
    // On a busy machine the first check of the database may be late.
    let began = Instant::now();
    let ready = loop {
        let (status, ready) = server.call(Method::GET, "/health/ready", None, None).await;
        if status == 200 {
            break ready;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{ready}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ready["migrations"], "ok");
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));
    crate::migrations::drop_database(&database).await;
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_process_with_a_reason() {
    let app = TestApp::new().await;
    let taken = app.replica.root.authority().to_owned();
    let output = run(&with(&app.settings, &[("BIND_ADDR", &taken)]), &["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).to_lowercase().contains("address"),
        "{}",
        stderr(&output)
    );
}
