//! The types that a variable can have.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;
use url::Url;

use super::safety;
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
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters".to_owned());
        }
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

/// The longest time of any setting. Clocks and libraries add times to the present, and overflow far
/// beyond.
pub(super) const LONGEST: Duration = days(3_650);

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

pub(super) struct RedisUrl(pub(super) SecretString);

impl Setting for RedisUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok();
        // The path is a database's number. A query and a fragment change what the client does: one
        // of them turns the check of certificates off.
        let is_number = |path: &str| {
            let number = path.strip_prefix('/').unwrap_or(path);
            number.is_empty() || number.parse::<u16>().is_ok()
        };
        let fits = url.is_some_and(|url| {
            matches!(url.scheme(), "redis" | "rediss")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && is_number(url.path())
                && url.query().is_none()
                && url.fragment().is_none()
        });
        fits.then(|| Self(text.into())).ok_or_else(|| {
            "must be a URL such as rediss://:password@host:6379/0, without query".to_owned()
        })
    }
}

pub(super) struct SentryDsn(pub(super) SecretString);

impl Setting for SentryDsn {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && !url.username().is_empty()
                && url.path().len() > 1
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.map(|_| Self(text.into()))
            .ok_or_else(|| "must be a DSN such as https://key@sentry.example.com/1".to_owned())
    }
}

pub(super) struct SmtpUrl(pub(super) SecretString);

impl Setting for SmtpUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let server = super::mail::parse_smtp_url(text);
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
        let is_name = plain == "*"
            || plain.starts_with('[')
            || plain.split('.').all(|label| {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                (1..=63).contains(&label.len()) && label.chars().all(is_plain)
            });
        url.filter(|url| {
            is_name && url.port().is_none() && url.host_str() == Some(&plain.to_ascii_lowercase())
        })
        .map(|_| Self(text.to_ascii_lowercase()))
        .ok_or_else(|| {
            "must be host names such as api.example.com, or *.example.com for those below it, \
             without scheme, port or leading dot"
                .to_owned()
        })
    }
}

impl HostPattern {
    /// Returns whether it matches whole top-level domains, or everything.
    pub(super) fn is_wide(&self) -> bool {
        self.0
            .strip_prefix('*')
            .is_some_and(|below| !below.trim_start_matches('.').contains('.'))
    }
}

pub(super) struct Network(pub(super) IpNet);

/// An IPv4 network that is written as IPv6, which clients' addresses never are.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped();
    let bits = v6.prefix_len().checked_sub(96);
    let mapped = v4
        .zip(bits)
        .and_then(|(v4, bits)| Ipv4Net::new(v4, bits).ok());
    mapped.map_or(network, IpNet::V4)
}

impl Network {
    /// Returns whether it holds every address.
    pub(super) fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Returns whether it holds so many public addresses that strangers have some of them. The widest
    /// ranges that networks of proxies publish are a little narrower.
    pub(super) fn is_wide_and_public(&self) -> bool {
        let (first, last) = (self.0.network(), self.0.broadcast());
        let is_public = ![first, last].into_iter().all(safety::is_private_address);
        is_public
            && match self.0 {
                IpNet::V4(network) => network.prefix_len() < 11,
                IpNet::V6(network) => network.prefix_len() < 24,
            }
    }
}

impl Setting for Network {
    fn parse(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().ok();
        network
            .or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
            .map(|network| Self(unmapped(network.trunc())))
            .ok_or_else(|| "must be networks such as 10.0.0.0/8 or addresses".to_owned())
    }
}
