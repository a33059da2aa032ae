//! What makes the address of another service unsafe to use in production.

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// Passwords that stand in examples everywhere, ours included.
const EXAMPLES: [&str; 10] = [
    "postgres",
    "password",
    "secret",
    "changeme",
    "change-me",
    "change_me",
    "example",
    "admin",
    "root",
    "test",
];

fn parsed(url: &SecretString) -> Option<Url> {
    Url::parse(url.expose_secret()).ok()
}

/// Whether the scheme is one of these, or what is sent stays within a private network.
pub(super) fn is_encrypted_or_private(url: &SecretString, encrypted: &[&str]) -> bool {
    let Some(url) = parsed(url) else { return false };
    encrypted.contains(&url.scheme()) || url.host_str().is_none_or(is_private)
}

/// Loopback, a private range (RFC 1918, RFC 4193), a link-local address, a name without a dot as
/// containers have, or one of a private zone (RFC 6762, RFC 9476).
fn is_private(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Ok(Host::Domain(name)) => {
            let zones = [".internal", ".local", ".localhost"];
            !name.contains('.') || zones.iter().any(|zone| name.ends_with(zone))
        }
        // A socket's path, percent-encoded, as PostgreSQL takes it for a host.
        Err(_) => host.starts_with("%2F") || host.starts_with("%2f"),
    }
}

/// Whether the query insists on TLS, as PostgreSQL's `sslmode` and the mailer's `tls` do.
pub(super) fn requires_tls(url: &SecretString) -> bool {
    let Some(url) = parsed(url) else { return false };
    url.query_pairs().any(|(name, value)| {
        matches!(
            (name.as_ref(), value.as_ref()),
            (
                "sslmode" | "ssl-mode",
                "require" | "verify-ca" | "verify-full"
            ) | ("tls", "required" | "wrapper")
        )
    })
}

/// Whether the password is one that everybody tries first. A database that lets in without one
/// (by certificate or by socket) has no user's password in its URL, and no host either.
pub(super) fn has_example_password(url: &SecretString) -> bool {
    let Some(url) = parsed(url) else { return false };
    match url.password() {
        Some(password) => EXAMPLES.contains(&password.to_lowercase().as_str()),
        None => url
            .host_str()
            .is_some_and(|host| !host.is_empty() && !host.to_lowercase().starts_with("%2f")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_may_be_spoken_to_in_the_clear() {
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
            assert!(is_encrypted_or_private(&url, &[]), "{host}");
        }
        for host in ["db.example.com", "8.8.8.8", "172.32.0.1", "[2001:db8::1]"] {
            let url = SecretString::from(format!("redis://:pw@{host}:6379"));
            assert!(!is_encrypted_or_private(&url, &["rediss"]), "{host}");
            let url = SecretString::from(format!("rediss://:pw@{host}:6379"));
            assert!(is_encrypted_or_private(&url, &["rediss"]), "{host}");
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
    fn example_passwords_are_known() {
        for (url, known) in [
            ("postgres://app:postgres@db/app", true),
            ("postgres://app:ChangeMe@db/app", true),
            ("postgres://app@db/app", true),
            ("postgres://app:8kX2pQ@db/app", false),
            ("postgres://app@%2Frun%2Fpostgresql/app", false),
        ] {
            assert_eq!(has_example_password(&url.into()), known, "{url}");
        }
    }
}
