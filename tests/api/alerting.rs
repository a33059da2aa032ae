//! Rules, exporters and Alertmanager, as they run in production. Skipped where these programs are not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use groundwork_dev::Inbox;
use groundwork_dev::files::{self, Scratch};
use serde_json::json;

use crate::harness::given;
use crate::observability::{EXPORTED, alerts, at, read};

/// Programs by their name in Debian's packages, or upstream's.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn program(names: &[&str]) -> Option<PathBuf> {
    let found = names.iter().find_map(|name| files::on_path(name));
    if found.is_none() {
        println!("skipped: {names:?} is not installed (Debian has it)");
    }
    found
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(&[&out[..], err].concat()).into_owned()
}

/// Process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let addr = listener.and_then(|it| it.local_addr());
    addr.expect("a port is free").port()
}

/// Returns the body of a page, once it is served.
async fn page(url: &str) -> String {
    for _ in 0..200 {
        if let Ok(response) = reqwest::get(url).await
            && response.status().is_success()
        {
            return response.text().await.expect("it is text");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} is not served");
}

#[test]
fn prometheus_takes_its_configuration_and_every_alert_fires_on_its_series() {
    let tests = read("tests/observability/alerts.yml");
    for alert in alerts() {
        let case = format!("  - name: {}\n", alert.name);
        assert!(tests.contains(&case), "no test fires {}", alert.name);
    }
    let Some(promtool) = program(&["promtool"]) else {
        return;
    };
    for args in [
        ["check", "config", "deploy/observability/prometheus.yml"],
        ["test", "rules", "tests/observability/alerts.yml"],
    ] {
        let checked = Command::new(&promtool)
            .args(args)
            .current_dir(at(""))
            .output();
        let checked = checked.expect("it runs");
        assert!(checked.status.success(), "{args:?}: {}", text(&checked));
    }
}

/// Writes Alertmanager's configuration to a folder.
fn write_configuration(folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut start = Command::new("sh");
    start
        .arg(at("deploy/observability/alertmanager/start"))
        .arg("--write")
        .arg(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied());
    start.output().expect("sh runs")
}

const FROM: (&str, &str) = ("MAIL_FROM", "Acme <hello@acme.example>");
const TO: (&str, &str) = ("ALERT_EMAIL", "operator@example.com");

#[test]
fn alertmanager_takes_the_configuration_of_each_kind_of_mail_server() {
    let folder = Scratch::new(None).expect("a folder is created");
    let slack = folder.path().join("slack");
    fs::write(&slack, "https://hooks.slack.example/services/x").expect("it is written");
    let slack = slack.to_str().expect("a plain path");
    let amtool = program(&["amtool"]);
    for (url, host, tls) in [
        (
            "smtps://ada:p%40s%27s@mail.example.com",
            "mail.example.com:465",
            true,
        ),
        (
            "smtp://ada:x@mail.example.com?tls=required",
            "mail.example.com:587",
            true,
        ),
        ("smtp://mail.internal", "mail.internal:25", false),
        ("smtp://127.0.0.1:1025/", "127.0.0.1:1025", false),
    ] {
        let variables = [
            ("SMTP_URL", url),
            FROM,
            TO,
            ("ALERT_SLACK_URL_FILE", slack),
            ("ALERT_NIGHT", "01:00-05:30"),
            ("ALERT_TIME_ZONE", "Europe/Vienna"),
        ];
        let written = write_configuration(folder.path(), &variables);
        assert!(written.status.success(), "{url}: {}", text(&written));
        let path = folder.path().join("alertmanager.yml");
        let config = fs::read_to_string(&path).expect("it is written");
        assert!(
            config.contains(&format!("smtp_smarthost: '{host}'")),
            "{url}: {config}"
        );
        assert!(
            config.contains(&format!("smtp_require_tls: {tls}")),
            "{url}: {config}"
        );
        assert!(
            !config.contains("p@s"),
            "the password is in a file of its own"
        );
        let Some(amtool) = &amtool else { continue };
        let checked = Command::new(amtool).arg("check-config").arg(&path).output();
        let checked = checked.expect("it runs");
        assert!(checked.status.success(), "{url}: {}", text(&checked));
    }
    let password = folder.path().join("smtp_password");
    write_configuration(
        folder.path(),
        &[("SMTP_URL", "smtps://a:p%40s%27s@b"), FROM, TO],
    );
    assert_eq!(
        fs::read_to_string(password).expect("it is written"),
        "p@s's"
    );
}

#[test]
fn a_configuration_that_would_send_nothing_is_refused() {
    let folder = Scratch::new(None).expect("a folder is created");
    let url = ("SMTP_URL", "smtp://mail.internal");
    for (variables, reason) in [
        (vec![FROM, TO], "SMTP_URL is not set"),
        (vec![url, TO], "MAIL_FROM is not set"),
        (vec![url, FROM], "ALERT_EMAIL is not set"),
        (
            vec![("SMTP_URL", "https://mail"), FROM, TO],
            "must begin with smtp:// or smtps://",
        ),
        (
            vec![("SMTP_URL", "smtps://mail:2465"), FROM, TO],
            "on another port than 465",
        ),
        (
            vec![url, FROM, ("ALERT_EMAIL", "a'b@example.com")],
            "quotation mark",
        ),
    ] {
        let refused = write_configuration(folder.path(), &variables);
        assert!(!refused.status.success(), "{reason}");
        assert!(
            text(&refused).contains(reason),
            "{reason}: {}",
            text(&refused)
        );
    }
}

#[tokio::test]
async fn an_alert_arrives_in_the_inbox_of_the_operator() {
    let Some(alertmanager) = program(&["alertmanager", "prometheus-alertmanager"]) else {
        return;
    };
    let inbox = Inbox::start().await;
    let folder = Scratch::new(None).expect("a folder is created");
    let written = write_configuration(folder.path(), &[("SMTP_URL", &inbox.smtp_url()), FROM, TO]);
    assert!(written.status.success(), "{}", text(&written));
    let url = format!("http://127.0.0.1:{}", free_port().await);
    let _running = Running::start(
        Command::new(alertmanager)
            .arg(format!(
                "--config.file={}",
                folder.path().join("alertmanager.yml").display()
            ))
            .arg(format!(
                "--storage.path={}",
                folder.path().join("data").display()
            ))
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address={}", &url["http://".len()..])),
    );
    page(&format!("{url}/-/ready")).await;
    let alert = json!([{
        "labels": { "alertname": "PostgresDown", "severity": "critical", "instance": "postgres:9187" },
        "annotations": { "summary": "PostgreSQL does not answer", "runbook": "docs/runbooks/postgres.md" },
    }]);
    let posted = reqwest::Client::new()
        .post(format!("{url}/api/v2/alerts"))
        .json(&alert)
        .send();
    assert!(posted.await.expect("it answers").status().is_success());

    // Alertmanager waits ten seconds for further alerts of the group.
    let arrived = async {
        while inbox.emails_to(TO.1).is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let arrived = tokio::time::timeout(Duration::from_mins(1), arrived).await;
    arrived.expect("an email arrives within a minute");
    let email = inbox.emails_to(TO.1).swap_remove(0);
    assert_eq!(email.subject, "FIRING: PostgresDown (critical, 1)");
    for part in [
        "PostgreSQL does not answer",
        "What to do: docs/runbooks/postgres.md",
        "instance=postgres:9187",
    ] {
        assert!(email.text.contains(part), "{part}: {}", email.text);
    }
}

/// Checks that a page of metrics has the names that begin with `prefix`, with their labels.
fn has_metrics(page: &str, prefix: &str) {
    for (name, labels) in EXPORTED.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let is_sample = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let sample = page.lines().find(is_sample);
        let sample = sample.unwrap_or_else(|| panic!("{name} is not exported"));
        for label in labels.split(' ').filter(|label| !label.is_empty()) {
            assert!(sample.contains(&format!("{label}=\"")), "{label}: {sample}");
        }
    }
}

#[tokio::test]
async fn exporters_have_the_metrics_that_are_used() {
    let (redis, database) = (given("TEST_REDIS_URL"), given("TEST_DATABASE_ADMIN_URL"));
    for (kind, prefix, variable, target) in [
        ("node", "node_", "UNUSED", String::new()),
        ("redis", "redis_", "REDIS_ADDR", redis),
        ("postgres", "pg_", "DATA_SOURCE_NAME", database),
    ] {
        let names = [
            format!("{kind}_exporter"),
            format!("prometheus-{kind}-exporter"),
        ];
        let Some(exporter) = program(&[&names[0], &names[1]]) else {
            continue;
        };
        let addr = format!("127.0.0.1:{}", free_port().await);
        let listen = if kind == "redis" {
            format!("-web.listen-address={addr}")
        } else {
            format!("--web.listen-address={addr}")
        };
        let _running = Running::start(Command::new(exporter).arg(listen).env(variable, target));
        has_metrics(&page(&format!("http://{addr}/metrics")).await, prefix);
    }
}
