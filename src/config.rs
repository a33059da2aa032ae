//! Every setting of the service: one struct a section, typed, and checked before anything starts.
//!
//! [`Config::read`] reads them all and reports every fault at once, by variable name and never
//! with a value. A variable `X` may also be given as `X_FILE`, the path of a file that holds it.

mod api_keys;
mod attempts;
mod audit;
mod auth;
mod breaches;
mod deny;
mod exempt;
mod limits;
mod log_level;
mod mail;
mod mfa;
mod plans;
mod postgres_url;
mod reader;
mod ring;
mod safety;
mod sections;
mod setting;
mod suspects;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

pub use api_keys::ApiKeyConfig;
pub use attempts::{AttemptsConfig, Ladder};
pub use audit::AuditConfig;
pub use auth::{AuthConfig, PasswordConfig};
pub use breaches::BreachConfig;
pub use crypto::Key32;
pub use deny::{AgentPattern, CountryCode, DenyConfig};
pub use email_transport::{ClientId as HelloName, SmtpServer, SmtpTls};
pub use exempt::ExemptNetworks;
pub use limits::{Limit, LimitsConfig, Rate};
pub use mfa::{MfaConfig, MfaRequired};
pub use plans::{Currency, PlansConfig, PriceId, Quota, TierConfig};
use reader::Reader;
pub use ring::RingConfig;
pub use usage::{Retention, UsageConfig};

/// All settings of one process.
#[derive(Debug)]
pub struct Config {
    /// Where the process runs; production refuses what development allows.
    pub environment: Environment,
    /// Whether `/docs` and `/api/openapi.json` exist.
    pub docs_enabled: bool,
    /// The listener and what it trusts.
    pub http: HttpConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// Redis, where there is one.
    pub redis_url: Option<SecretString>,
    /// `REDIS_TIMEOUT`: what one command to Redis may cost a request.
    pub redis_timeout: Duration,
    /// Whom the service does not serve.
    pub deny: DenyConfig,
    /// Who may ask how often.
    pub limits: LimitsConfig,
    /// Tokens, sessions and passwords.
    pub auth: AuthConfig,
    /// Wrong passwords.
    pub attempts: AttemptsConfig,
    /// Second factors.
    pub mfa: MfaConfig,
    /// `ENCRYPTION_KEYS`: what is sealed at rest; the first seals, all open.
    pub encryption_keys: Vec<Key32>,
    /// The check of new passwords against known breaches, where there is one.
    pub breaches: Option<BreachConfig>,
    /// Plans and prices.
    pub plans: PlansConfig,
    /// Metering and events.
    pub usage: UsageConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// API keys.
    pub api_keys: ApiKeyConfig,
    /// Outgoing letters.
    pub mail: MailConfig,
    /// The job worker.
    pub worker: WorkerConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// Variables that look like ours and are not: a misspelt one is worth a word.
    pub suspects: Vec<Fault>,
}

/// Where the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine or in a test.
    Development,
    /// Anywhere that strangers can reach.
    Production,
}

/// The names of this machine, which stand for each other in development.
pub const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The listener, its time limits and what it trusts.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// `BIND_ADDR`: the address to listen on.
    pub bind_addr: SocketAddr,
    /// `PUBLIC_URL`: how clients reach the service.
    pub public_url: Url,
    /// `ALLOWED_ORIGINS`: the exact origins that browsers may call from.
    pub allowed_origins: Vec<HeaderValue>,
    /// `ALLOWED_HOSTS`: names the service answers to, lower-case and without a port; `*.` stands
    /// for one or more labels. The public URL's host is always among them.
    pub allowed_hosts: Vec<String>,
    /// `TRUSTED_PROXIES`: networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `CLIENT_IP_HEADER`: the one header of trusted proxies that names the client.
    pub client_ip_header: HeaderName,
    /// True if plain http is refused, also from a peer that is no trusted proxy: in production,
    /// where the public URL is https.
    pub requires_https: bool,
    /// `HTTP_MAX_CONNECTIONS`: open connections, above which new ones are turned away.
    pub max_connections: usize,
    /// `HTTP_MAX_CONNECTIONS_PER_CLIENT`: of these, how many one client network may have; trusted
    /// proxies are exempt.
    pub max_connections_per_client: usize,
    /// `HTTP_MAX_REQUESTS`: requests answered at once, above which new ones are turned away.
    pub max_requests: usize,
    /// `HTTP_MAX_BODIES_PER_CLIENT`: bodies of one client network that are waited for at once.
    pub max_bodies_per_client: usize,
    /// `HTTP_BODY_MEMORY_MIB`: bytes that all bodies together may take.
    pub body_memory: usize,
    /// `HTTP_IDLE_TIMEOUT`: from a reply to the first byte of the next request.
    pub idle_timeout: Duration,
    /// `HTTP_HEADER_TIMEOUT`: from the first byte of a request head, or a new connection, to the
    /// whole head.
    pub header_timeout: Duration,
    /// `HTTP_BODY_TIMEOUT`: for a request's body to arrive in whole.
    pub body_timeout: Duration,
    /// `HTTP_WRITE_TIMEOUT`: how long a peer may not read its reply.
    pub write_timeout: Duration,
    /// `HTTP_REQUEST_TIMEOUT`: for a handler to answer.
    pub request_timeout: Duration,
    /// `HTTP_DRAIN_DELAY`: between failing readiness and closing the listener.
    pub drain_delay: Duration,
    /// `HTTP_DRAIN_TIMEOUT`: for accepted requests to finish after that.
    pub drain_timeout: Duration,
}

impl HttpConfig {
    /// Whether clients reach the service by https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The path of `PUBLIC_URL` without the slash at its end: empty for the root of a host.
    #[must_use]
    pub fn base_path(&self) -> &str {
        self.public_url.path().trim_end_matches('/')
    }
}

/// PostgreSQL: the two roles, the pool and the server-side time limits.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`: the runtime role, which may read and write rows and nothing else.
    pub url: SecretString,
    /// `DATABASE_MIGRATION_URL`: the owner, for `migrate`; a direct connection, not a pooler's.
    pub migration_url: Option<SecretString>,
    /// `DB_POOL_SIZE`: connections that are opened when the process starts.
    pub first_connections: u32,
    /// `DB_POOL_SIZE` + `DB_MAX_OVERFLOW`: connections at most.
    pub max_connections: u32,
    /// `DB_POOL_TIMEOUT`: to get a connection from the pool; 1 s, so that two or three waits of a
    /// request and `DB_LOCK_TIMEOUT` come to no more than 5 s.
    pub acquire_timeout: Duration,
    /// `DB_POOL_RECYCLE`: the age at which a connection is replaced.
    pub max_lifetime: Duration,
    /// `DB_CONNECT_TIMEOUT`: to open a connection, whatever becomes of the request that waits for it.
    pub connect_timeout: Duration,
    /// `DB_STATEMENT_TIMEOUT`: for one statement.
    pub statement_timeout: Duration,
    /// `DB_LOCK_TIMEOUT`: to wait for a lock.
    pub lock_timeout: Duration,
    /// `DB_IDLE_TRANSACTION_TIMEOUT`: for a transaction that does nothing.
    pub idle_transaction_timeout: Duration,
    /// `DB_MIGRATION_LOCK_TIMEOUT`: to wait for another replica's migrations.
    pub migration_lock_timeout: Duration,
    /// `DB_ALLOW_UNVERIFIED_TLS`: whether a public database may be used by TLS that checks no
    /// certificate.
    pub allow_unverified_tls: bool,
    /// `DB_ECHO`: log each SQL statement at `debug`; needs `LOG_LEVEL=info,sqlx=debug` besides.
    pub echo: bool,
}

/// Outgoing letters.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// `SMTP_URL`: the mail server, with its credentials.
    pub server: SmtpServer,
    /// `SMTP_HELO_NAME`: the name of this host in the greeting; by default the public host or the
    /// sender's domain.
    pub hello_name: HelloName,
    /// `SSL_CERT_FILE`: certificate authorities in PEM to trust besides the public ones.
    pub certificates: Vec<String>,
    /// `MAIL_FROM`: the sender's mailbox, in ASCII.
    pub from: lettre::message::Mailbox,
    /// `LINK_URL`: what the links in letters begin with; the public URL by default.
    pub link_url: Url,
    /// `PRODUCT_NAME`: how letters call the product.
    pub product_name: String,
    /// `SMTP_TIMEOUT`: for the mail server to take an email.
    pub timeout: Duration,
}

/// The job worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// `WORKER_CONCURRENCY`: jobs at once.
    pub concurrency: usize,
    /// `WORKER_POLL_INTERVAL`: how often the queue is looked at when no notice arrives.
    pub poll_interval: Duration,
    /// `WORKER_STATEMENT_TIMEOUT`: for one statement of a job that works in batches.
    pub statement_timeout: Duration,
    /// `DEAD_JOBS_RETENTION`: how long jobs are kept that failed at their last attempt.
    pub dead_jobs_retention: Duration,
}

/// Logs, metrics, traces and error reports.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `APP_ENV`: where the process runs, as reports and traces name it.
    pub environment: Environment,
    /// `JSON_LOGS`: one JSON object a line instead of text for people.
    pub json: bool,
    /// `LOG_LEVEL`: a level, or directives such as `info,sqlx=debug`, which shows statements if `DB_ECHO=true`.
    pub level: String,
    /// `APP_VERSION`: the release, as logs and `/health` name it.
    pub version: String,
    /// `METRICS_ADDR`: where `/health/metrics` is served, apart from the public listener.
    pub metrics_addr: Option<SocketAddr>,
    /// `SENTRY_DSN`: where errors are reported.
    pub sentry_dsn: Option<SecretString>,
    /// `SENTRY_TRACES_SAMPLE_RATE`: the share of requests that Sentry traces, 0 to 1.
    pub sentry_traces_sample_rate: f32,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans are sent.
    pub otlp_endpoint: Option<Url>,
}

/// What is wrong with one variable; the value is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub variable: String,
    /// What it must be.
    pub message: String,
}

/// Every fault of a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        for Fault { variable, message } in &self.0 {
            write!(f, "\n  {variable}: {message}")?;
        }
        Ok(())
    }
}

/// The process's environment: the only place where it is read.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment() -> HashMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect()
}

impl Config {
    /// Reads all settings.
    pub fn read(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read()
    }
}

impl DatabaseConfig {
    /// Reads the database's settings alone, for who needs no others.
    pub fn read(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read_section(Reader::database)
    }
}

impl TelemetryConfig {
    /// Reads the settings of telemetry alone.
    pub fn read(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read_section(Reader::telemetry)
    }
}

impl HttpConfig {
    /// Reads the listener's address alone.
    pub fn read_bind_addr(variables: &HashMap<String, String>) -> Result<SocketAddr, Faults> {
        Reader::new(variables).read_section(Reader::bind_addr)
    }
}
