//! Options of the load test, and the file with the accounts of a deployed copy.

use std::fs;
use std::num::ParseFloatError;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use groundwork_dev::error::Doing as _;
use groundwork_dev::{Error, Result};
use url::Url;

/// Options of `load-test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Users, each with an account and a connection of its own
    #[arg(long, default_value = "100", value_parser = users)]
    pub(crate) users: usize,
    /// Replicas of the service behind `HAProxy`; without it one process serves, without a proxy
    #[arg(long, value_parser = replicas)]
    pub(crate) replicas: Option<usize>,
    /// How `HAProxy` chooses a replica: each request to the next one, or all requests of a connection to the same
    #[arg(long, value_enum, default_value_t = Balance::Request)]
    pub(crate) balance: Balance,
    /// Compare the replicas with one, both behind `HAProxy`, at saturation
    #[arg(long, requires = "replicas")]
    pub(crate) compare: bool,
    /// Seconds that the users are active
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3600))]
    pub(crate) seconds: u64,
    /// Seconds between a reply and the next request of a user, on average
    #[arg(long, default_value = "1", value_parser = think_time)]
    pub(crate) think_time: Duration,
    /// Address of a deployed copy; without it a service is started on this machine
    #[arg(long, requires = "accounts", value_parser = origin)]
    pub(crate) url: Option<Url>,
    /// File with accounts of the copy, one a line: address, space, password
    #[arg(long, requires = "url")]
    pub(crate) accounts: Option<PathBuf>,
    /// Confirm that the copy has no real users
    #[arg(long)]
    pub(crate) not_production: bool,
}

/// Unit by which the proxy distributes load.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Balance {
    Request,
    Connection,
}

/// Replicas of the service behind `HAProxy`.
#[derive(Clone, Copy)]
pub(super) struct Replicas {
    pub(super) count: usize,
    pub(super) balance: groundwork_dev::Balance,
}

/// Account that a user signs in to.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) password: String,
}

/// Most users: each has a connection here and one in the service.
const MOST_USERS: usize = 1_000;

fn users(text: &str) -> Result<usize, String> {
    let users = text.parse().ok();
    users
        .filter(|users| (1..=MOST_USERS).contains(users))
        .ok_or_else(|| format!("the number of users is from 1 to {MOST_USERS}"))
}

/// Most replicas, which share the connections that PostgreSQL accepts.
const MOST_REPLICAS: usize = 16;

fn replicas(text: &str) -> Result<usize, String> {
    let replicas = text.parse().ok();
    replicas
        .filter(|replicas| (1..=MOST_REPLICAS).contains(replicas))
        .ok_or_else(|| format!("the number of replicas is from 1 to {MOST_REPLICAS}"))
}

fn think_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|e: ParseFloatError| e.to_string())?;
    if !(0.1..=60.0).contains(&seconds) {
        return Err("the think time is from 0.1 to 60 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    let is_plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain {
        return Err("an address such as https://staging.example.com, without a path".to_owned());
    }
    Ok(url)
}

impl Options {
    /// Returns the replicas; `None` for one process without a proxy.
    pub(super) fn replicas(&self) -> Option<Replicas> {
        let balance = match self.balance {
            Balance::Request => groundwork_dev::Balance::Request,
            Balance::Connection => groundwork_dev::Balance::Connection,
        };
        let count = self.replicas?;
        Some(Replicas { count, balance })
    }

    /// Returns the accounts of a deployed copy, at least one for each user; `None` without one.
    pub(super) fn read_accounts(&self) -> Result<Option<Vec<Account>>> {
        if let (Some(url), true) = (&self.url, self.replicas.is_some()) {
            return Err(Error::Other(format!(
                "replicas are started on this machine, not at {url}: leave out --replicas (REPLICAS with make) or --url"
            )));
        }
        let (Some(url), Some(path)) = (&self.url, &self.accounts) else {
            return Ok(None);
        };
        if !self.not_production && !is_loopback(url) {
            return Err(Error::Other(format!(
                "real users of {url} would wait, and accounts there get events and files: \
                 add --not-production (NOT_PRODUCTION=yes with make) if it is a copy without real users"
            )));
        }
        let text = fs::read_to_string(path).doing_to("read", path)?;
        let accounts = parse(&text)
            .map_err(|problem| Error::Other(format!("{}: {problem}", path.display())))?;
        if accounts.len() < self.users {
            return Err(Error::Other(format!(
                "{} has {} of the {} accounts that the users need",
                path.display(),
                accounts.len(),
                self.users
            )));
        }
        Ok(Some(accounts))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Parses lines of an address and a password; blank ones and those that begin with `#` are skipped.
fn parse(text: &str) -> Result<Vec<Account>, String> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let account = |(number, line): (u32, &str)| {
        let parts = line
            .split_once(' ')
            .filter(|(email, _)| email.contains('@'));
        let (email, password) = parts
            .ok_or_else(|| format!("line {number} is not an address, a space and a password"))?;
        Ok(Account {
            email: email.to_owned(),
            password: password.trim().to_owned(),
        })
    };
    lines.map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_users_out_of_range_are_refused() {
        assert_eq!(users("100"), Ok(100));
        for wrong in ["0", "abc", "1000000", "-1", "1.5", ""] {
            let refusal = users(wrong).expect_err("it is out of range");
            assert_eq!(refusal, "the number of users is from 1 to 1000");
        }
    }

    #[test]
    fn numbers_of_replicas_out_of_range_are_refused() {
        assert_eq!(replicas("16"), Ok(16));
        for wrong in ["0", "abc", "17", "-1", "2.5", ""] {
            let refusal = replicas(wrong).expect_err("it is out of range");
            assert_eq!(refusal, "the number of replicas is from 1 to 16");
        }
    }

    #[test]
    fn think_times_out_of_range_are_refused() {
        assert_eq!(think_time("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "61", "NaN", "inf", "soon"] {
            assert!(think_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_an_origin() {
        assert!(origin("https://staging.example.com").is_ok());
        for wrong in [
            "staging",
            "ftp://staging.example.com",
            "https://staging.example.com/docs",
            "https://ada:secret@staging.example.com",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn accounts_are_lines_of_address_and_password() {
        let text = "# made for the test\n\nada@example.com  correct horse \nbob@example.com x\n";
        let accounts = parse(text).unwrap_or_default();
        let pairs: Vec<_> = accounts
            .iter()
            .map(|it| (&*it.email, &*it.password))
            .collect();
        assert_eq!(
            pairs,
            [
                ("ada@example.com", "correct horse"),
                ("bob@example.com", "x")
            ]
        );
        let refusal = parse("ada@example.com x\nbob").err();
        assert_eq!(
            refusal.as_deref(),
            Some("line 2 is not an address, a space and a password")
        );
    }

    #[test]
    fn a_public_address_needs_a_confirmation() {
        let options = |url: &str, not_production| Options {
            users: 1,
            replicas: None,
            balance: Balance::Request,
            compare: false,
            seconds: 60,
            think_time: Duration::from_secs(1),
            url: Url::parse(url).ok(),
            accounts: Some("/nonexistent/accounts".into()),
            not_production,
        };
        let refusal = |options: Options| match options.read_accounts() {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert!(refusal(options("https://example.com", false)).contains("--not-production"));
        assert!(refusal(options("https://example.com", true)).contains("read /nonexistent"));
        assert!(refusal(options("http://127.0.0.1:8000", false)).contains("read /nonexistent"));
        let replicas = Options {
            replicas: Some(4),
            ..options("https://example.com", true)
        };
        assert!(refusal(replicas).contains("leave out --replicas"));
    }
}
