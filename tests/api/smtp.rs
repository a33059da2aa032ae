//! The mail server and us: what it is told, how each failure is named, and which are tried again.

pub mod server;

use std::time::Duration;

use sqlx::Row as _;
use tokio::net::TcpListener;

use self::server::{Server, Tls};
use crate::harness::{TestApp, config};
use crate::process::binary::{run, stdout, with};

const EMAIL: &str = "ada@example.com";

/// The settings of a service that sends through this server.
fn through(app: &TestApp, url: &str, more: &[(&str, &str)]) -> groundwork::config::Config {
    let all = [&[("SMTP_URL", url), ("SMTP_TIMEOUT", "30s")], more].concat();
    config(&with(&app.settings, &all))
}

/// Fault that the check of the mail server finds.
async fn fault(app: &TestApp, url: &str, more: &[(&str, &str)]) -> Option<String> {
    let config = through(app, url, more);
    let mailer = groundwork::state::mailer(&config.mail, clock::Rng::system());
    let mailer = mailer.expect("it is built");
    let checked = mailer.check(Duration::from_secs(30)).await;
    checked.err().map(|error| error.to_string())
}

/// Registers somebody through this server and runs the job once: its last error, and whether it is
/// tried again. `None` when the email was sent.
async fn send_through(
    app: &mut TestApp,
    url: &str,
    more: &[(&str, &str)],
) -> Option<(String, bool)> {
    app.expect_dead_jobs();
    let all = [&[("SMTP_URL", url), ("SMTP_TIMEOUT", "30s")], more].concat();
    let replica = app.another_replica_with(&all).await;
    app.state = replica.state.clone();
    sqlx::query("DELETE FROM graphile_worker._private_jobs")
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    app.register(EMAIL).await;
    app.run_jobs().await;
    let row = sqlx::query(
        "SELECT last_error, attempts < max_attempts AS is_retried
         FROM graphile_worker._private_jobs",
    )
    .fetch_optional(&app.owner_db)
    .await
    .expect("the queue is there")?;
    Some((row.get("last_error"), row.get("is_retried")))
}

fn url(scheme: &str, server: &Server, query: &str) -> String {
    format!("{scheme}://{}{query}", server.addr)
}

#[tokio::test]
async fn a_message_has_the_headers_that_receivers_insist_on() {
    let settings = [
        ("MAIL_FROM", "Bücher <hallo@bücher.example>"),
        ("PRODUCT_NAME", "Bücher: & mehr €"),
    ];
    let app = TestApp::with(&settings).await;
    for email in [EMAIL, "grace@example.com"] {
        app.register(email).await;
    }
    let (first, second) = (
        app.email_to(EMAIL).await,
        app.email_to("grace@example.com").await,
    );
    for message in [&first, &second] {
        let id = message.header("Message-ID").expect("it has one");
        let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
        let (random, domain) = inner.and_then(|id| id.split_once('@')).expect("{id}");
        assert_eq!((random.len(), domain), (32, "xn--bcher-kva.example"));
        for name in [
            "Date",
            "From",
            "To",
            "Subject",
            "MIME-Version",
            "Message-ID",
        ] {
            let headers = message.headers.iter();
            let same = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
            assert_eq!(same.count(), 1, "{name}");
        }
        assert_eq!(message.header("Auto-Submitted"), Some("auto-generated"));
        assert!(message.headers.iter().all(|(_, value)| value.is_ascii()));
        assert_eq!(message.sender, "hallo@xn--bcher-kva.example");
        assert_eq!(message.from.address, "hallo@xn--bcher-kva.example");
        assert_eq!(message.from.name, "Bücher");
        assert_eq!(message.subject, "Confirm your address for Bücher: & mehr €");
        assert!(
            message.text.contains("Bücher: & mehr €"),
            "{}",
            message.text
        );
    }
    assert_ne!(first.message_id, second.message_id);
}

#[tokio::test]
async fn the_server_is_greeted_by_a_host_name_in_ascii() {
    let mut app = TestApp::new().await;
    let server = Server::start(Tls::Never, &[]).await;
    let plain = url("smtp", &server, "");
    for (more, name) in [
        (&[][..], "EHLO example.com"),
        (
            &[("PUBLIC_URL", "http://api.acme.com")],
            "EHLO api.acme.com",
        ),
        (
            &[("SMTP_HELO_NAME", "bücher.example")],
            "EHLO xn--bcher-kva.example",
        ),
        (
            &[("SMTP_HELO_NAME", "[IPv6:2001:db8::1]")],
            "EHLO [IPv6:2001:db8::1]",
        ),
    ] {
        assert_eq!(send_through(&mut app, &plain, more).await, None);
        assert_eq!(
            server.lines_with("EHLO").last().expect("it is greeted"),
            name
        );
    }
    let named = url("smtp", &server, "/web.acme.com");
    assert_eq!(send_through(&mut app, &named, &[]).await, None);
    assert_eq!(
        server.lines_with("EHLO").last().expect("one"),
        "EHLO web.acme.com"
    );
    let ids = server.lines_with("Message-ID: <");
    assert_eq!(ids.len(), 5);
    assert!(server.lines().iter().all(|line| line.is_ascii()));
}

#[tokio::test]
async fn a_server_at_an_ipv6_address_is_reached_with_and_without_tls() {
    let mut app = TestApp::new().await;
    let plain = Server::start_at("[::1]:0", Tls::Never, &[]).await;
    let sent = send_through(&mut app, &url("smtp", &plain, ""), &[]).await;
    assert_eq!(sent, None);
    let tls = Server::start_at("[::1]:0", Tls::AtOnce, &[]).await;
    let authority = tls.authority.to_str().expect("it is text");
    let trusting = [("SSL_CERT_FILE", authority)];
    let sent = send_through(&mut app, &url("smtps", &tls, ""), &trusting).await;
    assert_eq!(sent, None);
    assert_eq!(
        plain.lines_with("DATA").len() + tls.lines_with("DATA").len(),
        2
    );
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named_and_not_otherwise() {
    let mut app = TestApp::new().await;
    for (tls, scheme, query) in [
        (Tls::AtOnce, "smtps", ""),
        (Tls::OnRequest, "smtp", "?tls=required"),
        (Tls::OnRequest, "smtp", "?tls=opportunistic"),
    ] {
        let server = Server::start(tls, &[]).await;
        let url = url(scheme, &server, query);
        let (error, is_retried) = send_through(&mut app, &url, &[]).await.expect("it fails");
        assert!(error.contains("TLS with the mail server failed"), "{error}");
        assert!(error.contains("UnknownIssuer"), "{error}");
        assert!(is_retried);
        let found = fault(&app, &url, &[]).await.expect("it is found");
        assert!(found.contains("UnknownIssuer"), "{found}");
        assert_eq!(server.lines_with("MAIL").len(), 0);

        let authority = server.authority.to_str().expect("it is text");
        let trusting = [("SSL_CERT_FILE", authority)];
        assert_eq!(fault(&app, &url, &trusting).await, None);
        assert_eq!(send_through(&mut app, &url, &trusting).await, None);
        assert_eq!(server.lines_with("MAIL").len(), 2);
    }
}

#[tokio::test]
async fn each_failure_of_connection_and_sign_in_is_named_and_tried_again() {
    let mut app = TestApp::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed = listener.local_addr().expect("it has one");
    drop(listener);
    let unresponsive = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let unresponsive = unresponsive
        .local_addr()
        .map(|addr| format!("smtp://{addr}"));
    let plain = Server::start(Tls::Never, &[]).await;
    let refusing = Server::start(Tls::Never, &[("AUTH", "535 5.7.8 no ada@example.com")]).await;
    let dumb = Server::start(Tls::Never, &[("EHLO", "250 test")]).await;
    let banner = Server::start(Tls::Never, &[("greeting", "554 no service here")]).await;
    let sender = Server::start(Tls::Never, &[("MAIL", "553 5.1.8 not yours")]).await;
    let broken = Server::start(Tls::Never, &[("MAIL", "close")]).await;
    let with_user = |server: &Server| format!("smtp://ada:hunter2@{}", server.addr);
    for (url, error) in [
        ("smtp://mail.invalid".to_owned(), "name cannot be resolved"),
        (
            format!("smtp://{closed}"),
            "cannot be connected to: Connection refused",
        ),
        (
            format!("smtps://{closed}"),
            "cannot be connected to: Connection refused",
        ),
        (
            unresponsive.expect("it has one"),
            "did not reply in time (greeting)",
        ),
        (url("smtps", &plain, ""), "TLS with the mail server failed"),
        (
            url("smtp", &plain, "?tls=required"),
            "does not offer STARTTLS",
        ),
        (with_user(&refusing), "refused the credentials (535 5.7.8)"),
        (with_user(&dumb), "does not offer AUTH PLAIN or LOGIN"),
        (url("smtp", &banner, ""), "refused at greeting (554)"),
        (url("smtp", &sender, ""), "refused at MAIL FROM (553 5.1.8)"),
        (
            url("smtp", &broken, ""),
            "to the mail server broke (MAIL FROM)",
        ),
    ] {
        // Short where it is to pass.
        let is_late = error.contains("in time");
        let short = [("SMTP_TIMEOUT", if is_late { "1s" } else { "30s" })];
        let (reported, is_retried) = send_through(&mut app, &url, &short)
            .await
            .expect("it fails");
        assert!(reported.contains(error), "{url}: {reported}");
        assert!(
            is_retried,
            "{url}: an email is lost by a fault of the configuration"
        );
        assert!(
            !reported.contains("hunter2") && !reported.contains('@'),
            "{reported}"
        );
        // The doctor does the same and finds the same.
        let found = fault(&app, &url, &short).await.expect("it is found");
        assert!(found.contains(error), "{url}: {found}");
    }
}

#[tokio::test]
async fn an_email_that_is_refused_for_good_is_not_tried_again_and_says_why() {
    let mut app = TestApp::new().await;
    let given_up = async |app: &TestApp| {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM graphile_worker.jobs WHERE attempts >= max_attempts",
        )
        .fetch_one(&app.owner_db)
        .await
        .expect("the queue is there")
    };
    let cases: [(server::Replies, &str, bool); 12] = [
        (
            &[("RCPT", "550 5.1.1 no such user <ada@example.com>")],
            "RCPT TO (550 5.1.1)",
            false,
        ),
        (&[("RCPT", "550 unknown")], "RCPT TO (550)", false),
        (
            &[("RCPT", "553 5.1.3 bad address")],
            "RCPT TO (553 5.1.3)",
            false,
        ),
        (
            &[("message", "550 Message-ID missing")],
            "DATA (550)",
            false,
        ),
        (
            &[("message", "552 5.3.4 too big")],
            "DATA (552 5.3.4)",
            false,
        ),
        (&[("DATA", "554 5.6.0 no")], "DATA (554 5.6.0)", false),
        (&[("RCPT", "450 4.2.1 later")], "RCPT TO (450 4.2.1)", true),
        (&[("message", "451 greylisted")], "DATA (451)", true),
        (
            &[("RCPT", "421 4.3.2 going down")],
            "RCPT TO (421 4.3.2)",
            true,
        ),
        // These are about us: the emails wait until the configuration is repaired.
        (
            &[("RCPT", "554 5.7.1 <ada@example.com>: Relay access denied")],
            "RCPT TO (554 5.7.1)",
            true,
        ),
        (
            &[("RCPT", "550 relay not permitted")],
            "RCPT TO (550)",
            true,
        ),
        (
            &[("RCPT", "530 5.7.0 authenticate first")],
            "RCPT TO (530 5.7.0)",
            true,
        ),
    ];
    for (replies, error, expected) in cases {
        let server = Server::start(Tls::Never, replies).await;
        let plain = url("smtp", &server, "");
        let (reported, is_retried) = send_through(&mut app, &plain, &[]).await.expect("it fails");
        assert!(reported.contains(error), "{replies:?}: {reported}");
        assert_eq!(is_retried, expected, "{replies:?}");
        assert!(!reported.contains("ada"), "{reported}");
        assert_eq!(given_up(&app).await, i64::from(!expected));
        // However long it waits, the server hears of it once.
        app.hurry_jobs().await;
        app.run_jobs().await;
        let tries = server.lines_with("MAIL").len();
        assert_eq!(tries, if expected { 2 } else { 1 }, "{replies:?}");
    }
}

#[tokio::test]
async fn the_doctor_names_the_cause_and_sends_nothing() {
    let app = TestApp::new().await;
    let examine = async |url: &str| {
        let settings = with(&app.settings, &[("SMTP_URL", url)]);
        stdout(&run(&settings, &["doctor"]).await)
    };
    let good = Server::start(Tls::Never, &[]).await;
    let reported = examine(&format!("smtp://ada:secret@{}", good.addr)).await;
    assert!(
        reported.contains("ok     mail server responds"),
        "{reported}"
    );
    let verbs = good.lines();
    let verbs: Vec<_> = verbs
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(verbs, ["EHLO", "AUTH", "MAIL", "RSET", "QUIT"]);
    let bad = Server::start(Tls::Never, &[("AUTH", "535 5.7.8 wrong")]).await;
    let reported = examine(&format!("smtp://ada:hunter2@{}", bad.addr)).await;
    let fault = "FAULT  mail server responds: the mail server refused the credentials (535 5.7.8)";
    assert!(
        reported.contains(fault) && !reported.contains("hunter2"),
        "{reported}"
    );
}

#[tokio::test]
async fn a_sender_that_no_server_could_read_is_refused_at_start() {
    let app = TestApp::new().await;
    for (name, value) in [
        ("MAIL_FROM", "hélène@example.com"),
        ("SMTP_HELO_NAME", "my_host"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_FILE", "Cargo.toml"),
        ("SMTP_URL", "smtp://mail.example.com?tls=yes"),
        ("PRODUCT_NAME", "Two\nlines"),
    ] {
        let settings = with(&app.settings, &[(name, value)]);
        let faults = groundwork::config::Config::read(&settings).expect_err("it is refused");
        assert_eq!(faults.0.len(), 1, "{name}");
        assert_eq!(faults.0[0].variable, name);
    }
}
