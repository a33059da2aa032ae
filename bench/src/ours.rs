//! The service, built for release and with its whole pipeline on: limits in Redis, metering,
//! metrics, the access log to a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use groundwork_dev::error::Doing as _;
use groundwork_dev::process::{self, OnOurDeath, Server, Signal};
use groundwork_dev::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use groundwork_dev::{Error, Inbox, Postgres, Redis, Result, Stripe, ports};
use serde_json::{Value, json};

use crate::billing::{STRIPE_KEY, WEBHOOK_SECRET};
use crate::files::BUCKET;
use crate::load::{Connection, request};

/// The password of every account here.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Limits of a benchmark: counted like any other, and not reached by its load.
pub(crate) const LIMITS: [(&str, &str); 14] = [
    // As many connections as the bare service has.
    ("DB_POOL_SIZE", "10"),
    ("DB_MAX_OVERFLOW", "0"),
    ("LIMIT_GUARD", "1000000/1s"),
    ("LIMIT_ANONYMOUS", "1000000/1m"),
    ("LIMIT_AUTH", "1000000/1m"),
    ("LIMIT_SESSION", "1000000/1m"),
    ("LIMIT_FAILURES_CLIENT", "1000000/1m"),
    ("LIMIT_FAILURES_ACCOUNT", "1000000/1m"),
    ("LIMIT_UPLOAD", "1000000/1m"),
    ("PLAN_FREE_FILES", "0"),
    ("PLAN_FREE_STORAGE_MIB", "0"),
    ("PLAN_FREE_RATE", "1000000"),
    ("PLAN_FREE_QUOTA", "4000000000"),
    ("HTTP_MAX_CONNECTIONS", "1000"),
];

/// A process of the service.
pub(crate) struct Ours {
    pub(crate) addr: SocketAddr,
    server: Server,
}

/// How the service is started.
#[derive(Clone)]
pub(crate) struct Setup {
    binary: PathBuf,
    settings: Vec<(String, String)>,
    log: PathBuf,
    port: u16,
}

impl Setup {
    /// Settings for a migrated database, and the accounts that sign in.
    pub(crate) fn new(
        home: &Path,
        postgres: &Postgres,
        redis: &Redis,
        inbox: &Inbox,
        stripe: &Stripe,
        s3_url: &str,
    ) -> Result<Self> {
        let me = std::env::current_exe().doing(|| "find this program".into())?;
        let port = ports::any()?.port;
        let plain = [
            ("APP_ENV", "development"),
            ("JSON_LOGS", "true"),
            ("DOCS_ENABLED", "false"),
            ("BIND_ADDR", &format!("127.0.0.1:{port}")),
            ("PUBLIC_URL", &format!("http://127.0.0.1:{port}")),
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", &postgres.runtime_url("bench")),
            ("DATABASE_MIGRATION_URL", &postgres.url("bench")),
            ("REDIS_URL", &redis.url()),
            ("SMTP_URL", &inbox.smtp_url()),
            ("MAIL_FROM", "Bench <bench@example.com>"),
            ("STORAGE_BUCKET", BUCKET),
            ("STORAGE_ENDPOINT", s3_url),
            ("STORAGE_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("STORAGE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("STRIPE_SECRET_KEY", STRIPE_KEY),
            ("STRIPE_API_URL", &stripe.url()),
            ("STRIPE_WEBHOOK_SECRETS", WEBHOOK_SECRET),
            // The load is above what Stripe allows.
            ("STRIPE_CALLS_PER_SECOND", "1000"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut setup = Self {
            binary: me.with_file_name("groundwork"),
            settings: plain.into(),
            log: home.join("groundwork.log"),
            port,
        };
        let secrets = setup.run(&["keys", "generate"], "")?;
        let secrets = secrets.lines().filter_map(|line| line.split_once('='));
        setup
            .settings
            .extend(secrets.map(|(name, value)| (name.to_owned(), value.to_owned())));
        setup.run(&["migrate"], "")?;
        Ok(setup)
    }

    /// The same with these settings instead of its own.
    pub(crate) fn with(&self, settings: &[(&str, &str)]) -> Self {
        let own = settings.iter();
        let own = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut setup = self.clone();
        setup.settings.extend(own);
        setup
    }

    /// The same on a port of its own, with its own log.
    pub(crate) fn on_another_port(&self) -> Result<Self> {
        let port = ports::any()?.port;
        let mut setup = self.with(&[("BIND_ADDR", &format!("127.0.0.1:{port}"))]);
        setup.port = port;
        setup.log = self.log.with_file_name(format!("groundwork-{port}.log"));
        Ok(setup)
    }

    /// Makes an account that can sign in.
    pub(crate) fn create_account(&self, email: &str) -> Result<()> {
        self.run(
            &["users", "create", "--email", email, "--verified"],
            PASSWORD,
        )?;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = process::command(self.binary.as_os_str(), None, OnOurDeath::Terminate);
        command.env_clear().envs(self.settings.iter().cloned());
        command
    }

    fn run(&self, args: &[&str], input: &str) -> Result<String> {
        let doing = || format!("run {} {}", self.binary.display(), args.join(" "));
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(doing)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may be gone before it is written to.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        }
        let output = child.wait_with_output().doing(doing)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Other(format!("{}: {said}", args.join(" "))))
    }

    /// Starts it, and answers how long it took to be ready.
    pub(crate) async fn start(&self) -> Result<(Ours, Duration)> {
        self.start_with(&["serve"]).await
    }

    pub(crate) async fn start_with(&self, args: &[&str]) -> Result<(Ours, Duration)> {
        let began = Instant::now();
        let mut command = self.command();
        command.args(args);
        let server = Server::start("groundwork", &mut command, Signal::TERM, Some(&self.log))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut ours = Ours { addr, server };
        let ready = request("GET", "/health/ready", None, None);
        while began.elapsed() < Duration::from_secs(10) {
            if let Ok(mut connection) = Connection::open(addr).await
                && connection
                    .send(&ready)
                    .await
                    .is_ok_and(|reply| reply.status == 200)
            {
                return Ok((ours, began.elapsed()));
            }
            ours.server.check()?;
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        Err(ours.server.unresponsive(10))
    }
}

/// The body of a sign-in.
pub(crate) fn sign_in(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

impl Ours {
    /// Signs an account in.
    pub(crate) async fn log_in(&self, email: &str) -> Result<Value> {
        let body = sign_in(email);
        let request = request("POST", "/api/v1/auth/login", None, Some(&body));
        let doing = || format!("sign {email} in");
        let mut connection = Connection::open(self.addr).await.doing(doing)?;
        let reply = connection.send(&request).await.doing(doing)?;
        if reply.status == 200 {
            return Ok(reply.json());
        }
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        Err(Error::Other(format!("{email} is refused: {said}")))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Its resident memory, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or_default() / 1024
    }

    pub(crate) async fn stop(mut self) {
        self.server.stop(Duration::from_secs(30)).await;
    }
}
