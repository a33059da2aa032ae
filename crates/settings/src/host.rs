//! Predicates for production rules on the URLs of other services: private network, TLS, password.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// Message of a production rule by [`has_common_password`].
pub const COMMON_PASSWORD: &str = "must not have a password that everybody tries first, one shorter than 6 characters, or the user's \
     name";

/// Message of a production rule by [`is_private_or`].
pub const HTTPS_OR_PRIVATE: &str = "must be https outside of a private network";

/// A setting's value that is a URL, secret or not.
pub trait AsUrl {
    /// The URL.
    fn as_url(&self) -> Option<Url>;
}

impl AsUrl for Url {
    fn as_url(&self) -> Option<Url> {
        Some(self.clone())
    }
}

impl AsUrl for SecretString {
    fn as_url(&self) -> Option<Url> {
        Url::parse(self.expose_secret()).ok()
    }
}

/// Passwords that everybody tries first: of examples, ours included, of images and of lists.
const COMMON: [&str; 32] = [
    "postgres",
    "postgresql",
    "password",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "secret",
    "changeme",
    "change-me",
    "change_me",
    "example",
    "admin",
    "administrator",
    "root",
    "test",
    "testing",
    "redis",
    "foobared",
    "guest",
    "default",
    "groundwork",
    "qwerty",
    "letmein",
    "welcome",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "abc123",
    "iloveyou",
    "hunter2",
];

/// A password of fewer characters is guessed by trying all.
const PASSWORD_MIN: usize = 6;

/// Returns whether the scheme is one of these encrypted ones, or the host is in a private network.
pub fn is_private_or(url: &impl AsUrl, encrypted: &[&str]) -> bool {
    let Some(url) = url.as_url() else {
        return false;
    };
    encrypted.contains(&url.scheme()) || url.host_str().is_none_or(is_private)
}

/// Loopback, a private range (RFC 1918, RFC 4193), the shared one of carriers and overlay networks
/// (RFC 6598), or a link-local address.
#[must_use]
pub fn is_private_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// A private address, a name without a dot as containers have, or one of a private zone (RFC 6762,
/// RFC 9476).
#[must_use]
pub fn is_private(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(ip)) => is_private_address(ip.into()),
        Ok(Host::Ipv6(ip)) => is_private_address(ip.into()),
        Ok(Host::Domain(name)) => {
            let zones = [".internal", ".local", ".localhost"];
            !name.contains('.') || zones.iter().any(|zone| name.ends_with(zone))
        }
        // A socket's path, percent-encoded, as PostgreSQL takes it for a host.
        Err(_) => host.starts_with("%2F") || host.starts_with("%2f"),
    }
}

/// Whether the query insists on TLS, as PostgreSQL's `sslmode` and the mailer's `tls` do.
pub fn requires_tls(url: &impl AsUrl) -> bool {
    let Some(url) = url.as_url() else {
        return false;
    };
    url.query_pairs().any(|(name, value)| {
        matches!(
            (name.as_ref(), value.to_ascii_lowercase().as_str()),
            (
                "sslmode" | "ssl-mode",
                "require" | "verify-ca" | "verify-full"
            ) | ("tls", "required" | "wrapper")
        )
    })
}

/// Whether PostgreSQL's certificate is checked: `require` encrypts, and accepts any.
pub fn verifies_certificate(url: &impl AsUrl) -> bool {
    let Some(url) = url.as_url() else {
        return false;
    };
    url.query_pairs().any(|(name, value)| {
        let value = value.to_ascii_lowercase();
        matches!(name.as_ref(), "sslmode" | "ssl-mode")
            && matches!(value.as_str(), "verify-ca" | "verify-full")
    })
}

/// Whether the URL has a password that is guessed at once.
pub fn has_common_password(url: &impl AsUrl) -> bool {
    let Some(url) = url.as_url() else {
        return false;
    };
    let decoded = |text: &str| {
        let pair = format!("p={}", text.replace('+', "%2B"));
        let value = url::form_urlencoded::parse(pair.as_bytes()).next();
        value.map_or_else(String::new, |(_, value)| value.into_owned())
    };
    url.password()
        .is_some_and(|password| is_common_password(&decoded(url.username()), &decoded(password)))
}

/// Whether the password is one that everybody tries first, is short, or is the user's name.
#[must_use]
pub fn is_common_password(user: &str, password: &str) -> bool {
    let password = password.to_lowercase();
    password.chars().count() < PASSWORD_MIN
        || COMMON.contains(&password.as_str())
        || password == user.to_lowercase()
}

/// Whether the URL of a database has no password. A socket's needs none.
pub fn lacks_password(url: &impl AsUrl) -> bool {
    let Some(url) = url.as_url() else {
        return false;
    };
    let is_socket = url.query_pairs().any(|(name, _)| name == "host");
    let is_remote = url
        .host_str()
        .is_some_and(|host| !host.is_empty() && !host.to_lowercase().starts_with("%2f"));
    url.password().is_none() && is_remote && !is_socket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_need_no_encryption() {
        for host in [
            "localhost",
            "db",
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "172.20.0.2",
            "[::1]",
            "[fd00::1]",
            "db.internal",
        ] {
            let url = SecretString::from(format!("postgres://app:pw@{host}:5432/app"));
            assert!(is_private_or(&url, &[]), "{host}");
        }
        for host in ["db.example.com", "8.8.8.8", "172.32.0.1", "[2001:db8::1]"] {
            let url = SecretString::from(format!("redis://:pw@{host}:6379"));
            assert!(!is_private_or(&url, &["rediss"]), "{host}");
            let url = SecretString::from(format!("rediss://:pw@{host}:6379"));
            assert!(is_private_or(&url, &["rediss"]), "{host}");
        }
    }

    #[test]
    fn tls_is_required_by_the_strict_modes_alone() {
        for (query, required) in [
            ("sslmode=require", true),
            ("sslmode=verify-full", true),
            ("sslmode=prefer", false),
            ("tls=required", true),
            ("tls=opportunistic", false),
            ("", false),
        ] {
            let url = SecretString::from(format!("postgres://app:pw@db.example.com/app?{query}"));
            assert_eq!(requires_tls(&url), required, "{query}");
        }
    }

    #[test]
    fn common_short_and_missing_passwords_are_found() {
        for (url, known) in [
            ("postgres://app:postgres@db/app", true),
            ("postgres://app:ChangeMe@db/app", true),
            ("postgres://app:p%61ssword@db/app", true),
            ("postgres://acmeapp:acmeapp@db/app", true),
            ("redis://:password@cache", true),
            ("redis://default:foobared@cache", true),
            ("redis://:a1b2@cache", true),
            ("redis://:@cache", false),
            ("postgres://app:8kX2pQ@db/app", false),
            ("postgres://app@%2Frun%2Fpostgresql/app", false),
        ] {
            assert_eq!(
                has_common_password(&SecretString::from(url)),
                known,
                "{url}"
            );
        }
        for (url, lacks) in [
            ("postgres://app@db/app", true),
            ("postgres://app@%2Frun%2Fpostgresql/app", false),
            ("postgres://app@db/app?host=/run/postgresql", false),
            ("postgres://app:8kX2pQ@db/app", false),
        ] {
            assert_eq!(lacks_password(&SecretString::from(url)), lacks, "{url}");
        }
    }
}
