//! Starts logs, error reports and traces from the settings.

pub use ::telemetry::*;

use crate::config::{Environment, TelemetryConfig};

pub fn start(config: &TelemetryConfig) -> Telemetry {
    ::telemetry::start(&Settings {
        service: env!("CARGO_PKG_NAME"),
        version: config.version.clone(),
        environment: match config.environment {
            Environment::Development => "development",
            Environment::Production => "production",
        },
        json: config.json,
        log_level: config.level.clone(),
        sentry_dsn: config.sentry_dsn.clone(),
        sentry_traces_sample_rate: config.sentry_traces_sample_rate,
        otlp_endpoint: config.otlp_endpoint.clone(),
    })
}
