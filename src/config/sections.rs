//! The sections of the configuration: every variable, its default and what it must be.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::mail::{HelloName, ProductName, Sender, SmtpServer, default_hello};
use super::reader::Reader;
use super::safety;
use super::setting::{
    Flag, HostPattern, LogLevel, Network, Origin, PostgresUrl, RedisUrl, SentryDsn, SmtpUrl,
    WebUrl, secs,
};
use super::{
    Config, DatabaseConfig, Environment, HttpConfig, MailConfig, TelemetryConfig, WorkerConfig,
};

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
        Some(url)
    }

    fn redis_timeout(&mut self) -> Option<Duration> {
        let timeout = self.duration("REDIS_TIMEOUT", Duration::from_millis(50))?;
        if timeout > secs(1) {
            self.fault(
                "REDIS_TIMEOUT",
                "must be at most 1s: a request waits for so long",
            );
            return None;
        }
        Some(timeout)
    }

    fn http(&mut self) -> Option<HttpConfig> {
        let bind_addr = self.bind_addr();
        let public_url = self.required::<WebUrl>("PUBLIC_URL").map(|url| url.0);
        let allowed_origins = self.list::<Origin>("ALLOWED_ORIGINS");
        let allowed_hosts = self.list::<HostPattern>("ALLOWED_HOSTS");
        let trusted_proxies = self.list::<Network>("TRUSTED_PROXIES");
        let max_connections = self.within("HTTP_MAX_CONNECTIONS", 10_000, 1..=1_000_000);
        let max_requests = self.within("HTTP_MAX_REQUESTS", 1_000, 1..=1_000_000);
        let header_timeout = self.duration("HTTP_HEADER_TIMEOUT", secs(10));
        let body_timeout = self.duration("HTTP_BODY_TIMEOUT", secs(10));
        let write_timeout = self.duration("HTTP_WRITE_TIMEOUT", secs(30));
        let request_timeout = self.duration("HTTP_REQUEST_TIMEOUT", secs(15));
        let drain_delay = self.span(
            "HTTP_DRAIN_DELAY",
            secs(if self.production { 5 } else { 0 }),
        );
        let drain_timeout = self.duration("HTTP_DRAIN_TIMEOUT", secs(20));
        let open = public_url
            .as_ref()
            .is_some_and(|url| url.scheme() != "https");
        self.refuse_if(open, "PUBLIC_URL", "must be https in production");
        let insecure = |origin: &Origin| !origin.0.as_bytes().starts_with(b"https://");
        let insecure = allowed_origins.iter().flatten().any(insecure);
        self.refuse_if(
            insecure,
            "ALLOWED_ORIGINS",
            "must be https origins in production",
        );
        let public_url = public_url?;
        let mut hosts: Vec<String> = allowed_hosts?.into_iter().map(|host| host.0).collect();
        hosts.extend(public_url.host_str().map(str::to_ascii_lowercase));
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
            max_connections: max_connections?,
            max_requests: max_requests?,
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
        let acquire_timeout = self.duration("DB_POOL_TIMEOUT", secs(3));
        let max_lifetime = self.duration("DB_POOL_RECYCLE", secs(1_800));
        let connect_timeout = self.duration("DB_CONNECT_TIMEOUT", secs(10));
        let statement_timeout = self.duration("DB_STATEMENT_TIMEOUT", secs(30));
        let lock_timeout = self.duration("DB_LOCK_TIMEOUT", secs(2));
        let idle_transaction_timeout = self.duration("DB_IDLE_TRANSACTION_TIMEOUT", secs(15));
        let migration_lock_timeout = self.duration("DB_MIGRATION_LOCK_TIMEOUT", secs(300));
        let echo = self.or("DB_ECHO", Flag(false));
        let urls = [
            ("DATABASE_URL", &url),
            ("DATABASE_MIGRATION_URL", &migration_url),
        ];
        for (name, url) in urls {
            let Some(PostgresUrl(url)) = url else {
                continue;
            };
            self.refuse_if(
                !safety::is_encrypted_or_private(url, &[]) && !safety::requires_tls(url),
                name,
                "must have ?sslmode=require or stricter outside of a private network",
            );
            self.refuse_if(
                safety::has_example_password(url),
                name,
                "has the password of an example, or none",
            );
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
            echo: echo?.0,
        })
    }

    fn mail(&mut self, public_url: Option<&Url>) -> Option<MailConfig> {
        let smtp_url = self.required::<SmtpUrl>("SMTP_URL");
        let from = self.required::<Sender>("MAIL_FROM").map(|from| from.0);
        let hello_name = self.optional::<HelloName>("SMTP_HELO_NAME");
        let certificates = self.certificates();
        let link_url = self.optional::<WebUrl>("LINK_URL").map(|url| url.0);
        let product_name = self.or("PRODUCT_NAME", ProductName("Groundwork".to_owned()));
        let timeout = self.duration("SMTP_TIMEOUT", secs(30));
        let open = smtp_url.as_ref().is_some_and(|url| {
            !safety::is_encrypted_or_private(&url.0, &["smtps"]) && !safety::requires_tls(&url.0)
        });
        self.refuse_if(
            open,
            "SMTP_URL",
            "must be smtps://, or have ?tls=required, outside of a private network",
        );
        let (server, named) = SmtpServer::parse(smtp_url?.0.expose_secret())?;
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
        let poll_interval = self.duration("WORKER_POLL_INTERVAL", secs(2));
        Some(WorkerConfig {
            concurrency: concurrency?,
            poll_interval: poll_interval?,
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
