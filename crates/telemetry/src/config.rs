//! Settings of logs, metrics, traces and error reports.

use std::net::SocketAddr;

use settings::host::{HTTPS_OR_PRIVATE, is_private_or};
use settings::{Fault, LogLevel, SentryDsn, WebUrl};
use tracing::Level;
use tracing_subscriber::filter::Targets;

settings::settings! {
    /// Logs, metrics, traces and error reports.
    pub struct TelemetryConfig {
        /// Name of the service in reports and traces.
        service: &'static str,
        /// Name of the deployment in reports and traces.
        environment: &'static str,
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

/// Warning if one of `DB_ECHO` and `LOG_LEVEL` enables the log of SQL statements and the other hides it.
#[must_use]
pub fn statement_log(echo: bool, log_level: &str) -> Option<Fault> {
    let targets: Targets = log_level.parse().ok()?;
    let is_shown = targets.would_enable("sqlx::query", &Level::DEBUG);
    let (variable, message) = match (echo, is_shown) {
        (true, false) => (
            "DB_ECHO",
            "logs only statements slower than 1 s unless LOG_LEVEL has sqlx=debug",
        ),
        (false, true) if log_level.contains("sqlx") => (
            "LOG_LEVEL",
            "names sqlx, which logs no statement without DB_ECHO=true",
        ),
        _ => return None,
    };
    Some(Fault {
        variable: variable.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::statement_log;

    #[test]
    fn a_statement_log_that_shows_nothing_is_reported() {
        let variable = |echo, level| statement_log(echo, level).map(|fault| fault.variable);
        assert_eq!(variable(true, "info"), Some("DB_ECHO".to_owned()));
        assert_eq!(
            variable(false, "info,sqlx=debug"),
            Some("LOG_LEVEL".to_owned())
        );
        assert_eq!(variable(true, "info,sqlx=debug"), None);
        assert_eq!(variable(true, "debug"), None);
        assert_eq!(variable(false, "debug"), None);
        assert_eq!(variable(false, "info,sqlx=warn"), None);
    }
}
