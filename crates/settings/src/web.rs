//! Types of settings: URLs, origins, host names and networks.

use std::net::IpAddr;

use http::HeaderValue;
use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;
use url::Url;

use crate::Setting;
use crate::host::is_private_address;

/// An `http` or `https` URL without user, query and fragment.
#[derive(Debug)]
pub struct WebUrl;

impl Setting for WebUrl {
    type Value = Url;

    fn parse(text: &str) -> Result<Url, String> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.ok_or_else(|| "must be an http or https URL without query".to_owned())
    }
}

/// URL of a Redis server. A query and a fragment are rejected: they change what the client does, and
/// `#insecure` disables the check of certificates.
#[derive(Debug)]
pub struct RedisUrl;

impl Setting for RedisUrl {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let is_database = |path: &str| {
            let number = path.strip_prefix('/').unwrap_or(path);
            number.is_empty() || number.parse::<u16>().is_ok()
        };
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "redis" | "rediss")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && is_database(url.path())
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.map(|_| text.into()).ok_or_else(|| {
            "must be a URL such as rediss://:password@host:6379/0, without query".to_owned()
        })
    }
}

/// A Sentry DSN.
#[derive(Debug)]
pub struct SentryDsn;

impl Setting for SentryDsn {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && !url.username().is_empty()
                && url.path().len() > 1
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.map(|_| text.into())
            .ok_or_else(|| "must be a DSN such as https://key@sentry.example.com/1".to_owned())
    }
}

/// A web origin (RFC 6454), as browsers send it.
#[derive(Debug)]
pub struct Origin;

impl Setting for Origin {
    type Value = HeaderValue;

    fn parse(text: &str) -> Result<HeaderValue, String> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        // An origin has no path, query or user: serialized it is the very text (RFC 6454 §6.2).
        url.filter(|url| url.origin().ascii_serialization() == text)
            .and_then(|_| HeaderValue::from_str(text).ok())
            .ok_or_else(|| {
                "must be exact origins such as https://app.example.com, never *".to_owned()
            })
    }
}

/// A host name in lower case and without a port; a leading `*.` stands for one or more labels.
#[derive(Debug)]
pub struct HostPattern;

impl Setting for HostPattern {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
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
        .map(|_| text.to_ascii_lowercase())
        .ok_or_else(|| {
            "must be host names such as api.example.com, or *.example.com for those below it, \
             without scheme, port or leading dot"
                .to_owned()
        })
    }
}

impl HostPattern {
    /// Whether the pattern matches a whole top-level domain, or everything.
    #[must_use]
    pub fn is_wide(pattern: &str) -> bool {
        let below = pattern.strip_prefix('*');
        below.is_some_and(|below| !below.trim_start_matches('.').contains('.'))
    }
}

/// A network or an address. An IPv4 network that is written as IPv6 becomes IPv4, as clients'
/// addresses are.
#[derive(Debug)]
pub struct Network;

impl Setting for Network {
    type Value = IpNet;

    fn parse(text: &str) -> Result<IpNet, String> {
        let network = text.parse::<IpNet>().ok();
        network
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .map(|network| unmapped(network.trunc()))
            .ok_or_else(|| "must be networks such as 10.0.0.0/8 or addresses".to_owned())
    }
}

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
    /// Whether the network has so many public addresses that strangers have some of them. The widest
    /// ranges that networks of proxies publish are a little narrower.
    #[must_use]
    pub fn is_wide_and_public(network: &IpNet) -> bool {
        let ends = [network.network(), network.broadcast()];
        let is_wide = match network {
            IpNet::V4(network) => network.prefix_len() < 11,
            IpNet::V6(network) => network.prefix_len() < 24,
        };
        is_wide && !ends.into_iter().all(is_private_address)
    }
}
