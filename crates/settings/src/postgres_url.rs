//! URL of a PostgreSQL database. `sqlx` ignores a parameter that it does not know and logs its value,
//! so those are rejected.

use std::collections::HashSet;

use secrecy::SecretString;
use url::Url;

use crate::Setting;

const MESSAGE: &str = "must be a URL such as postgres://user:password@host:5432/name";

/// The parameters that the driver knows, but for those that would contradict the URL itself.
const PARAMETERS: &str = "sslmode, sslrootcert, sslcert, sslkey, host (of a socket), application_name, options and statement-cache-capacity";

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// A PostgreSQL URL that the driver reads as it is written.
#[derive(Debug)]
pub struct PostgresUrl;

impl Setting for PostgresUrl {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let url = Url::parse(text).map_err(|_| MESSAGE.to_owned())?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let names_database = !path.is_empty() && !path.contains('/');
        let is_postgres = matches!(url.scheme(), "postgres" | "postgresql");
        if !is_postgres || !names_database || url.fragment().is_some() {
            return Err(MESSAGE.to_owned());
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{MESSAGE}, with other characters percent-encoded"));
        }
        let mut seen = HashSet::new();
        for (name, value) in url.query_pairs() {
            let known = parameter(&name, &value)?;
            if !seen.insert(known) {
                return Err(format!("has the parameter {known} twice"));
            }
        }
        Ok(text.into())
    }
}

/// The parameter's name as we list it, whatever its spelling.
fn parameter(name: &str, value: &str) -> Result<&'static str, String> {
    let known = match name {
        "sslmode" | "ssl-mode" => "sslmode",
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "sslrootcert",
        "sslcert" | "ssl-cert" => "sslcert",
        "sslkey" | "ssl-key" => "sslkey",
        "host" => "host",
        "application_name" => "application_name",
        "statement-cache-capacity" => "statement-cache-capacity",
        "options" => "options",
        _ if name.starts_with("options[") && name.ends_with(']') => return Ok("options[…]"),
        // Never by name: what is taken for one may be the end of a password.
        _ => return Err(format!("has a parameter other than {PARAMETERS}")),
    };
    let fits = match known {
        "sslmode" => SSL_MODES.contains(&value.to_ascii_lowercase().as_str()),
        "host" => value.starts_with('/'),
        "statement-cache-capacity" => value.parse::<usize>().is_ok(),
        _ => !value.is_empty(),
    };
    if fits {
        return Ok(known);
    }
    Err(match known {
        "sslmode" => format!("must have an sslmode of {}", SSL_MODES.join(", ")),
        "host" => "must name its host before the path; ?host= is for a socket's path".to_owned(),
        other => format!("has a {other} that cannot be used"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_would_pass_over_or_let_contradict_the_url_is_refused() {
        for query in [
            "",
            "?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem",
            "?ssl-mode=VERIFY-FULL",
            "?host=/run/postgresql",
            "?options=-c%20work_mem%3D8MB",
            "?statement-cache-capacity=0",
            "?application_name=acme",
        ] {
            let url = format!("postgres://app:8kX2pQ@db:5432/app{query}");
            assert!(PostgresUrl::parse(&url).is_ok(), "{query}");
        }
        for query in [
            "?sslmode=require&sslpassword=hunter2",
            "?hunter2",
            "?sslmode=strict",
            "?sslmode=verify-full&sslmode=disable",
            "?sslmode=verify-full&ssl-mode=disable",
            "?host=db.example.com",
            "?hostaddr=8.8.8.8",
            "?password=hunter2",
            "?user=postgres",
            "?dbname=other",
            "?connect_timeout=10",
            "?statement-cache-capacity=many",
            "?sslrootcert=",
            "#hunter2",
            "/hunter2",
        ] {
            let url = format!("postgres://app:8kX2pQ@db:5432/app{query}");
            let fault = PostgresUrl::parse(&url).err().unwrap_or_default();
            assert!(!fault.is_empty(), "{query}");
            assert!(!fault.contains("hunter2") && !fault.contains("8kX2pQ"));
        }
        for url in [
            "postgres://app:8kX2pQ@db",
            "postgres://app:8kX2pQ@db/",
            "mysql://app:8kX2pQ@db/app",
            "postgres://app:8kX2pQ@db:notaport/app",
            "postgres://app:8kX 2pQ@db/app",
            "host=db dbname=app",
        ] {
            assert!(PostgresUrl::parse(url).is_err(), "{url}");
        }
    }
}
