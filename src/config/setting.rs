//! The types that a variable can have.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::{Environment, Key32};

/// So many seconds.
pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// So many days.
pub(super) const fn days(n: u64) -> Duration {
    secs(n * 24 * 60 * 60)
}

/// A type that a variable's text can be read as; the error says what it must be.
pub(super) trait Setting: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! setting_by_from_str {
    ($($type:ty => $message:literal),+ $(,)?) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $message.to_owned())
            }
        }
    )+};
}

setting_by_from_str! {
    f32 => "must be a number",
    u32 => "must be a whole number",
    usize => "must be a whole number",
    SocketAddr => "must be an address and a port, such as 0.0.0.0:8000",
    Key32 => "must be 32 random bytes in base64url: `keys generate` makes them",
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Setting for Environment {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("must be development or production".to_owned()),
        }
    }
}

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "must be a time such as 500ms, 30s, 15m, 24h, 14d, or plain seconds".to_owned();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
        let seconds_per_unit = match &text[digits.len()..] {
            "ms" => return Ok(Self::from_millis(number)),
            "" | "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(seconds_per_unit)
            .map(Self::from_secs)
            .ok_or_else(wrong)
    }
}

pub(super) struct Flag(pub(super) bool);

impl Setting for Flag {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Self(true)),
            "false" | "0" | "no" | "off" => Ok(Self(false)),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

pub(super) struct WebUrl(pub(super) Url);

impl Setting for WebUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.map(Self)
            .ok_or_else(|| "must be an http or https URL without query".to_owned())
    }
}

pub(super) struct PostgresUrl(pub(super) SecretString);

impl Setting for PostgresUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be a URL such as postgres://user:password@host:5432/name".to_owned();
        let url = Url::parse(text).map_err(|_| wrong())?;
        let names_database = url.path().len() > 1;
        if !matches!(url.scheme(), "postgres" | "postgresql") || !names_database {
            return Err(wrong());
        }
        Ok(Self(text.into()))
    }
}

pub(super) struct RedisUrl(pub(super) SecretString);

impl Setting for RedisUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok();
        let fits =
            url.is_some_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
        fits.then(|| Self(text.into()))
            .ok_or_else(|| "must be a URL such as rediss://:password@host:6379".to_owned())
    }
}

pub(super) struct SentryDsn(pub(super) SecretString);

impl Setting for SentryDsn {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && !url.username().is_empty()
                && url.path().len() > 1
        });
        url.map(|_| Self(text.into()))
            .ok_or_else(|| "must be a DSN such as https://key@sentry.example.com/1".to_owned())
    }
}

pub(super) struct SmtpUrl(pub(super) SecretString);

impl Setting for SmtpUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let server = super::mail::SmtpServer::parse(text);
        server.map(|_| Self(text.into())).ok_or_else(|| {
            "must be a URL such as smtps://user:password@host:465 or smtp://…:587?tls=required"
                .to_owned()
        })
    }
}

pub(super) struct Origin(pub(super) HeaderValue);

impl Setting for Origin {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        // An origin has no path, query or user: written out it is the very text (RFC 6454 §6.2).
        url.filter(|url| url.origin().ascii_serialization() == text)
            .and_then(|_| HeaderValue::from_str(text).ok())
            .map(Self)
            .ok_or_else(|| {
                "must be exact origins such as https://app.example.com, never *".to_owned()
            })
    }
}

pub(super) struct HostPattern(pub(super) String);

impl Setting for HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = text.strip_prefix("*.").unwrap_or(text);
        let url = Url::parse(&format!("http://{plain}/")).ok();
        url.filter(|url| {
            url.port().is_none() && url.host_str() == Some(&plain.to_ascii_lowercase())
        })
        .map(|_| Self(text.to_ascii_lowercase()))
        .ok_or_else(|| "must be host names such as api.example.com or *.example.com".to_owned())
    }
}

pub(super) struct Network(pub(super) IpNet);

impl Setting for Network {
    fn parse(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().ok();
        network
            .or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
            .map(Self)
            .ok_or_else(|| "must be networks such as 10.0.0.0/8 or addresses".to_owned())
    }
}

pub(super) struct LogLevel(pub(super) String);

impl Setting for LogLevel {
    fn parse(text: &str) -> Result<Self, String> {
        let directives = text.parse::<tracing_subscriber::filter::Targets>();
        directives.map(|_| Self(text.to_owned())).map_err(|_| {
            "must be a level such as info, or directives such as info,sqlx=debug".to_owned()
        })
    }
}
