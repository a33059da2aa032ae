//! The process, logs, metrics, traces and error reports.

use std::net::SocketAddr;

use settings::host::{HTTPS_OR_PRIVATE, is_private_or};
use settings::{LogLevel, SentryDsn, Setting, WebUrl};

use super::Environment;

settings::settings! {
    "The process", ProcessSettings {
        /// Where the process runs: `production`, or `development`, which allows what production
        /// refuses.
        APP_ENV => environment: Environment = "production",
            decides_production(|environment| *environment != Environment::Development);
        /// Whether `/docs` and `/api/openapi.json` exist.
        DOCS_ENABLED => docs_enabled: bool = false, in_development(true),
            production(|enabled| !enabled, "must be false");
    }
}

impl Setting for Environment {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("must be development or production".to_owned()),
        }
    }
}

settings::settings! {
    /// Logs, metrics, traces and error reports.
    pub struct TelemetryConfig {
        /// `APP_ENV`, as reports and traces name it.
        environment: Environment,
    }
    "Logs, metrics and error reports": "[observability.md](observability.md) describes each.", TelemetrySettings {
        /// One JSON object a line instead of text for people.
        JSON_LOGS => json: bool = true, in_development(false);
        /// Level of the log: `off`, `error`, `warn` (or `warning`), `info`, `debug` or `trace`, and
        /// modules besides: `info,sqlx=debug`, which shows each statement if `DB_ECHO` is set.
        LOG_LEVEL => level: LogLevel = "info";
        /// The release, as logs, error reports and `/health` name it.
        APP_VERSION => version: String, computed("the version of the build", |_| Some(env!("CARGO_PKG_VERSION").to_owned()));
        /// Address of `/health/metrics`, apart from the public listener: one of the internal network.
        METRICS_ADDR => metrics_addr: Option<SocketAddr>;
        /// Where errors are reported.
        SENTRY_DSN => sentry_dsn: Option<SentryDsn>, secret,
            production(|dsn| is_private_or(dsn, &["https"]), HTTPS_OR_PRIVATE);
        /// Share of requests that Sentry traces.
        SENTRY_TRACES_SAMPLE_RATE => sentry_traces_sample_rate: f32 = 0.05, within(0..=1);
        /// Where spans are sent, by OTLP over HTTP.
        OTEL_EXPORTER_OTLP_ENDPOINT => otlp_endpoint: Option<WebUrl>,
            production(|url| is_private_or(url, &["https"]), HTTPS_OR_PRIVATE);
    }
}
