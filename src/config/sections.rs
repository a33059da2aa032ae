//! The sections of the configuration: every variable, its default and what it must be.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::log_level::LogLevel;
use super::mail::{ProductName, Sender, default_hello, parse_smtp_url};
use super::postgres_url::PostgresUrl;
use super::reader::Reader;
use super::safety;
use super::setting::{
    Flag, HostPattern, Network, Origin, RedisUrl, SentryDsn, SmtpUrl, WebUrl, days, secs,
};
use super::{
    Config, DatabaseConfig, Environment, HttpConfig, LOOPBACK, MailConfig, TelemetryConfig,
    WorkerConfig,
};

/// Fault of a password that is guessed at once.
const COMMON_PASSWORD: &str =
    "has a password that everybody tries first, a short one, or the user's name";

const HTTPS_OR_PRIVATE: &str = "must be https outside of a private network";

/// The longest time limit of a step that a client or a server waits for.
const STEP_MAX: Duration = secs(60 * 60);

/// The longest time limit of PostgreSQL's: it counts them in milliseconds, up to 24 days.
const STATEMENT_MAX: Duration = days(1);

/// Returns whether a path can be that of `PUBLIC_URL`: it becomes part of routes, cookie names and headers.
fn is_base_path(path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_segment = |segment: &str| !segment.is_empty() && segment.bytes().all(is_plain);
    path == "/" || segments.all(is_segment)
}

impl Reader<'_> {
    pub(super) fn config(&mut self) -> Option<Config> {
        let environment = self.environment();
        // Each section reads all of its variables before a missing one ends it, so that the faults
        // of all sections come out together.
        let http = self.http();
        let database = self.database();
        let redis_url = self.redis();
        let redis_timeout = self.redis_timeout();
        let public_url = http.as_ref().map(|http| &http.public_url);
        let auth = self.auth(public_url);
        let mfa = self.mfa();
        let encryption_keys = self.encryption_keys(auth.as_ref());
        let breaches = self.breaches();
        let plans = self.plans();
        let proxies = http.as_ref().map(|http| http.trusted_proxies.as_slice());
        let deny = self.deny(proxies);
        let limits = self.limits(plans.as_ref(), auth.as_ref());
        let attempts = self.attempts(limits.as_ref());
        let usage = self.usage();
        let audit = self.audit();
        let mail = self.mail(public_url);
        let product = mail.as_ref().map(|mail| mail.product_name.as_str());
        let api_keys = self.api_keys(product);
        let worker = self.worker();
        let telemetry = self.telemetry();
        let docs_enabled = self.docs_enabled();
        Some(Config {
            environment: environment?,
            docs_enabled: docs_enabled?,
            http: http?,
            database: database?,
            redis_url,
            redis_timeout: redis_timeout?,
            deny: deny?,
            limits: limits?,
            auth: auth?,
            attempts: attempts?,
            mfa: mfa?,
            encryption_keys: encryption_keys?,
            breaches: breaches?,
            plans: plans?,
            usage: usage?,
            audit: audit?,
            api_keys: api_keys?,
            mail: mail?,
            worker: worker?,
            telemetry: telemetry?,
            suspects: Vec::new(),
        })
    }

    /// Where the process runs, which decides what is refused; what cannot be read is production.
    pub(super) fn environment(&mut self) -> Option<Environment> {
        let environment = self.or("APP_ENV", Environment::Production);
        self.production = environment != Some(Environment::Development);
        environment
    }

    pub(super) fn bind_addr(&mut self) -> Option<SocketAddr> {
        self.or("BIND_ADDR", SocketAddr::from(([0, 0, 0, 0], 8000)))
    }

    fn docs_enabled(&mut self) -> Option<bool> {
        let enabled = self.or("DOCS_ENABLED", Flag(!self.production))?.0;
        self.refuse_if(enabled, "DOCS_ENABLED", "must be false in production");
        Some(enabled)
    }

    fn redis(&mut self) -> Option<SecretString> {
        let url = self.optional::<RedisUrl>("REDIS_URL")?.0;
        let open = !safety::is_encrypted_or_private(&url, &["rediss"]);
        self.refuse_if(
            open,
            "REDIS_URL",
            "must be rediss:// outside of a private network",
        );
        let is_common = safety::has_common_password(&url);
        self.refuse_if(is_common, "REDIS_URL", COMMON_PASSWORD);
        Some(url)
    }

    fn redis_timeout(&mut self) -> Option<Duration> {
        // A request waits for so long.
        self.duration_up_to("REDIS_TIMEOUT", Duration::from_millis(50), secs(1))
    }

    fn http(&mut self) -> Option<HttpConfig> {
        let bind_addr = self.bind_addr();
        let public_url = self.required::<WebUrl>("PUBLIC_URL").map(|url| url.0);
        let allowed_origins = self.list::<Origin>("ALLOWED_ORIGINS");
        let allowed_hosts = self.list::<HostPattern>("ALLOWED_HOSTS");
        let trusted_proxies = self.list::<Network>("TRUSTED_PROXIES");
        let client_ip_header = self.or(
            "CLIENT_IP_HEADER",
            HeaderName::from_static("x-forwarded-for"),
        );
        let max_connections = self.within("HTTP_MAX_CONNECTIONS", 10_000, 1..=1_000_000);
        let max_connections_per_client =
            self.within("HTTP_MAX_CONNECTIONS_PER_CLIENT", 256, 1..=1_000_000);
        let max_requests = self.within("HTTP_MAX_REQUESTS", 1_000, 1..=1_000_000);
        let max_bodies_per_client = self.within("HTTP_MAX_BODIES_PER_CLIENT", 128, 1..=1_000_000);
        // One client may take an eighth, which must hold the largest body of any route.
        let body_memory = self.within("HTTP_BODY_MEMORY_MIB", 64_usize, 16..=1_024);
        let idle_timeout = self.duration_up_to("HTTP_IDLE_TIMEOUT", secs(75), STEP_MAX);
        let header_timeout = self.duration_up_to("HTTP_HEADER_TIMEOUT", secs(10), STEP_MAX);
        let body_timeout = self.duration_up_to("HTTP_BODY_TIMEOUT", secs(10), STEP_MAX);
        let write_timeout = self.duration_up_to("HTTP_WRITE_TIMEOUT", secs(30), STEP_MAX);
        let request_timeout = self.duration_up_to("HTTP_REQUEST_TIMEOUT", secs(15), STEP_MAX);
        let drain_delay = self.span_up_to(
            "HTTP_DRAIN_DELAY",
            secs(if self.production { 5 } else { 0 }),
            STEP_MAX,
        );
        let drain_timeout = self.duration_up_to("HTTP_DRAIN_TIMEOUT", secs(20), STEP_MAX);
        let open = public_url
            .as_ref()
            .is_some_and(|url| url.scheme() != "https");
        self.refuse_if(open, "PUBLIC_URL", "must be https in production");
        let wide = allowed_hosts.iter().flatten().any(HostPattern::is_wide);
        self.refuse_if(
            wide,
            "ALLOWED_HOSTS",
            "must not name everything, or a whole top-level domain, in production",
        );
        let wide = trusted_proxies
            .iter()
            .flatten()
            .any(Network::is_wide_and_public);
        self.refuse_if(
            wide,
            "TRUSTED_PROXIES",
            "must be the networks of your own proxies: anybody could send from so wide a range",
        );
        let insecure = |origin: &Origin| !origin.0.as_bytes().starts_with(b"https://");
        let insecure = allowed_origins.iter().flatten().any(insecure);
        self.refuse_if(
            insecure,
            "ALLOWED_ORIGINS",
            "must be https origins in production",
        );
        let public_url = public_url?;
        let requires_https = self.production && public_url.scheme() == "https";
        if !is_base_path(public_url.path()) {
            let message = "must have a path of a-z, A-Z, 0-9, _ and - between slashes, or none";
            self.fault("PUBLIC_URL", message);
        }
        let mut hosts: Vec<String> = allowed_hosts?.into_iter().map(|host| host.0).collect();
        hosts.extend(public_url.host_str().map(str::to_ascii_lowercase));
        if !self.production && hosts.iter().any(|host| LOOPBACK.contains(&host.as_str())) {
            hosts.extend(LOOPBACK.map(str::to_owned));
        }
        Some(HttpConfig {
            bind_addr: bind_addr?,
            public_url,
            allowed_origins: allowed_origins?
                .into_iter()
                .map(|origin| origin.0)
                .collect(),
            allowed_hosts: hosts,
            trusted_proxies: trusted_proxies?
                .into_iter()
                .map(|network| network.0)
                .collect(),
            client_ip_header: client_ip_header?,
            requires_https,
            max_connections: max_connections?,
            max_connections_per_client: max_connections_per_client?,
            max_requests: max_requests?,
            max_bodies_per_client: max_bodies_per_client?,
            body_memory: body_memory? * 1024 * 1024,
            idle_timeout: idle_timeout?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            write_timeout: write_timeout?,
            request_timeout: request_timeout?,
            drain_delay: drain_delay?,
            drain_timeout: drain_timeout?,
        })
    }

    pub(super) fn database(&mut self) -> Option<DatabaseConfig> {
        let url = self.required::<PostgresUrl>("DATABASE_URL");
        let migration_url = self.optional::<PostgresUrl>("DATABASE_MIGRATION_URL");
        let size = self.within("DB_POOL_SIZE", 10_u32, 1..=1_000);
        let overflow = self.within("DB_MAX_OVERFLOW", 20_u32, 0..=1_000);
        let acquire_timeout = self.duration_up_to("DB_POOL_TIMEOUT", secs(1), secs(60));
        let max_lifetime = self.duration_up_to("DB_POOL_RECYCLE", secs(1_800), days(7));
        let connect_timeout = self.duration_up_to("DB_CONNECT_TIMEOUT", secs(10), secs(300));
        let statement_timeout =
            self.duration_up_to("DB_STATEMENT_TIMEOUT", secs(30), STATEMENT_MAX);
        let lock_timeout = self.duration_up_to("DB_LOCK_TIMEOUT", secs(2), STATEMENT_MAX);
        let idle_transaction_timeout =
            self.duration_up_to("DB_IDLE_TRANSACTION_TIMEOUT", secs(15), STATEMENT_MAX);
        let migration_lock_timeout =
            self.duration_up_to("DB_MIGRATION_LOCK_TIMEOUT", secs(300), STATEMENT_MAX);
        let allow_unverified_tls = self.or("DB_ALLOW_UNVERIFIED_TLS", Flag(false));
        let echo = self.or("DB_ECHO", Flag(false));
        let urls = [
            ("DATABASE_URL", &url),
            ("DATABASE_MIGRATION_URL", &migration_url),
        ];
        for (name, url) in urls {
            let Some(PostgresUrl(url)) = url else {
                continue;
            };
            let is_public = !safety::is_encrypted_or_private(url, &[]);
            let is_encrypted = safety::requires_tls(url);
            self.refuse_if(
                is_public && !is_encrypted,
                name,
                "must have ?sslmode=verify-full outside of a private network",
            );
            self.refuse_if(
                is_public
                    && is_encrypted
                    && !safety::verifies_certificate(url)
                    && !allow_unverified_tls.as_ref().is_some_and(|flag| flag.0),
                name,
                "must have ?sslmode=verify-full outside of a private network: `require` checks no \
                 certificate, which DB_ALLOW_UNVERIFIED_TLS=true accepts",
            );
            self.refuse_if(safety::lacks_password(url), name, "has no password");
            self.refuse_if(safety::has_common_password(url), name, COMMON_PASSWORD);
        }
        Some(DatabaseConfig {
            url: url?.0,
            migration_url: migration_url.map(|url| url.0),
            first_connections: size?,
            max_connections: size? + overflow?,
            acquire_timeout: acquire_timeout?,
            max_lifetime: max_lifetime?,
            connect_timeout: connect_timeout?,
            statement_timeout: statement_timeout?,
            lock_timeout: lock_timeout?,
            idle_transaction_timeout: idle_transaction_timeout?,
            migration_lock_timeout: migration_lock_timeout?,
            allow_unverified_tls: allow_unverified_tls?.0,
            echo: echo?.0,
        })
    }

    fn mail(&mut self, public_url: Option<&Url>) -> Option<MailConfig> {
        let smtp_url = self.required::<SmtpUrl>("SMTP_URL");
        let from = self.required::<Sender>("MAIL_FROM").map(|from| from.0);
        let hello_name = self.optional::<super::HelloName>("SMTP_HELO_NAME");
        let certificates = self.certificates();
        let link_url = self.optional::<WebUrl>("LINK_URL").map(|url| url.0);
        let is_plain = link_url.as_ref().is_some_and(|url| url.scheme() != "https");
        self.refuse_if(is_plain, "LINK_URL", "must be https in production");
        let product_name = self.or("PRODUCT_NAME", ProductName("Groundwork".to_owned()));
        let timeout = self.duration_up_to("SMTP_TIMEOUT", secs(30), STEP_MAX);
        let open = smtp_url.as_ref().is_some_and(|url| {
            !safety::is_encrypted_or_private(&url.0, &["smtps"]) && !safety::requires_tls(&url.0)
        });
        self.refuse_if(
            open,
            "SMTP_URL",
            "must be smtps://, or have ?tls=required, outside of a private network",
        );
        let (server, named) = parse_smtp_url(smtp_url?.0.expose_secret())?;
        let from = from?;
        let hello_name = hello_name.or(named);
        Some(MailConfig {
            server,
            hello_name: hello_name.unwrap_or_else(|| default_hello(public_url, &from)),
            certificates: certificates?,
            from,
            link_url: link_url.or_else(|| public_url.cloned())?,
            product_name: product_name?.0,
            timeout: timeout?,
        })
    }

    fn worker(&mut self) -> Option<WorkerConfig> {
        let concurrency = self.within("WORKER_CONCURRENCY", 4, 1..=64);
        let poll_interval = self.duration_up_to("WORKER_POLL_INTERVAL", secs(2), STEP_MAX);
        let statement_timeout = self.duration_up_to("WORKER_STATEMENT_TIMEOUT", secs(300), days(1));
        let dead_jobs_retention = self.duration("DEAD_JOBS_RETENTION", days(30));
        if dead_jobs_retention.is_some_and(|kept| !(days(1)..=days(3_650)).contains(&kept)) {
            self.fault("DEAD_JOBS_RETENTION", "must be 1d to 3650d");
        }
        Some(WorkerConfig {
            concurrency: concurrency?,
            poll_interval: poll_interval?,
            statement_timeout: statement_timeout?,
            dead_jobs_retention: dead_jobs_retention?,
        })
    }

    pub(super) fn telemetry(&mut self) -> Option<TelemetryConfig> {
        let json = self.or("JSON_LOGS", Flag(self.production));
        let level = self.or("LOG_LEVEL", LogLevel("info".to_owned()));
        let version = self.or("APP_VERSION", env!("CARGO_PKG_VERSION").to_owned());
        let metrics_addr = self.optional::<SocketAddr>("METRICS_ADDR");
        let sentry_dsn = self.optional::<SentryDsn>("SENTRY_DSN");
        let sample_rate = self.within("SENTRY_TRACES_SAMPLE_RATE", 0.05_f32, 0.0..=1.0);
        let otlp_endpoint = self.optional::<WebUrl>("OTEL_EXPORTER_OTLP_ENDPOINT");
        let open = sentry_dsn
            .as_ref()
            .is_some_and(|dsn| !safety::is_encrypted_or_private(&dsn.0, &["https"]));
        self.refuse_if(open, "SENTRY_DSN", HTTPS_OR_PRIVATE);
        let open = otlp_endpoint.as_ref().is_some_and(|url| {
            !safety::is_encrypted_or_private(&url.0.as_str().into(), &["https"])
        });
        self.refuse_if(open, "OTEL_EXPORTER_OTLP_ENDPOINT", HTTPS_OR_PRIVATE);
        Some(TelemetryConfig {
            environment: if self.production {
                Environment::Production
            } else {
                Environment::Development
            },
            json: json?.0,
            level: level?.0,
            version: version?,
            metrics_addr,
            sentry_dsn: sentry_dsn.map(|dsn| dsn.0),
            sentry_traces_sample_rate: sample_rate?,
            otlp_endpoint: otlp_endpoint.map(|url| url.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_base_path;

    #[test]
    fn the_path_of_the_public_url_is_plain_segments() {
        for good in ["/", "/app", "/app/", "/a/b-c/D_9"] {
            assert!(is_base_path(good), "{good}");
        }
        for wrong in [
            "//", "/a//b", "/a.b", "/%41", "/a;b", "/a,b", "/a=b", "/\u{fc}", "/~a", "/.",
        ] {
            assert!(!is_base_path(wrong), "{wrong}");
        }
    }
}
