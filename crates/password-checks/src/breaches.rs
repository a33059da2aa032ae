//! Passwords of known breaches, by the range API of Have I Been Pwned (k-anonymity): the service gets five of the
//! forty digits of the password's SHA-1 and returns the suffixes of all hashes that begin with them.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::Instrument as _;
use url::Url;
use zeroize::Zeroizing;

use crate::metrics;

/// Digits that are sent.
const PREFIX: usize = 5;

/// Digits that are compared here.
const SUFFIX: usize = 35;

/// Bytes of a response. Real ones have about a thousand lines of forty bytes.
const MAX_RESPONSE: usize = 512 * 1024;

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct BreachOptions {
    /// Service with the range API.
    pub url: Url,
    /// Time limit of the whole response.
    pub timeout: Duration,
    /// Accepts passwords that could not be checked.
    pub fail_open: bool,
    /// `User-Agent` header, which the service requires.
    pub user_agent: &'static str,
}

/// Client of the service; clones share its connections.
#[derive(Clone, Debug)]
pub struct Breaches {
    client: Client,
    options: BreachOptions,
}

/// The password could not be checked, and the settings reject it then.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be checked against known breaches")]
pub struct Unchecked;

/// No text has the URL, which ends in digits of the hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no response in time")]
    Timeout,
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("status {0}")]
    Refused(StatusCode),
    #[error("the response is not a list of hashes, or too long")]
    Malformed,
}

impl Breaches {
    /// Does not connect yet.
    pub fn new(options: &BreachOptions) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .user_agent(options.user_agent)
            .build()?;
        Ok(Self {
            client,
            options: options.clone(),
        })
    }

    /// Returns whether the password is known from a breach. Without a response in time the settings decide.
    pub async fn contains(&self, password: &SecretString) -> Result<bool, Unchecked> {
        let began = Instant::now();
        let digits = digits(password);
        // Without the path, which has digits of the password's hash.
        let span = tracing::info_span!(
            target: "otel",
            "GET range",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = "GET",
            server.address = self.options.url.host_str(),
        );
        let request = async { self.request(&digits, telemetry::traceparent()).await };
        let request = request.instrument(span.clone());
        let result = tokio::time::timeout(self.options.timeout, request).await;
        let result = result.unwrap_or(Err(Failure::Timeout));
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_breach_check(began, &result);
        match result {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::warn!(%error, fail_open = self.options.fail_open, "a password could not be checked against known breaches");
                self.options.fail_open.then_some(false).ok_or(Unchecked)
            }
        }
    }

    /// Health check.
    pub async fn ping(&self) -> Result<(), String> {
        let unused = Zeroizing::new("0".repeat(PREFIX + SUFFIX));
        let result = tokio::time::timeout(self.options.timeout, self.request(&unused, None)).await;
        let result = result.unwrap_or(Err(Failure::Timeout));
        result.map(drop).map_err(|error| error.to_string())
    }

    async fn request(&self, digits: &str, traceparent: Option<String>) -> Result<bool, Failure> {
        let (prefix, suffix) = digits.split_at(PREFIX);
        let mut url = self.options.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("range").push(prefix);
        }
        // Padded responses are of similar length, so that the length does not reveal the prefix.
        let mut request = self.client.get(url).header("add-padding", "true");
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Refused(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_RESPONSE {
                return Err(Failure::Malformed);
            }
            body.extend_from_slice(&chunk);
        }
        let text = std::str::from_utf8(&body).map_err(|_| Failure::Malformed)?;
        find(text, suffix).ok_or(Failure::Malformed)
    }
}

fn unreachable(error: reqwest::Error) -> Failure {
    Failure::Unreachable(error.without_url())
}

/// SHA-1 of a password in upper-case hexadecimal, as the API wants it.
fn digits(password: &SecretString) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let hash = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        password.expose_secret().as_bytes(),
    );
    let halves = hash
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)])));
    Zeroizing::new(halves.collect())
}

/// Returns whether the list of `SUFFIX:COUNT` lines has this suffix, `None` if it is no such list. A count of 0 is
/// padding.
fn find(list: &str, suffix: &str) -> Option<bool> {
    let mut found = None;
    for line in list.lines().filter(|line| !line.is_empty()) {
        let (ending, count) = line.split_once(':')?;
        let is_ending = ending.len() == SUFFIX && ending.bytes().all(|b| b.is_ascii_hexdigit());
        let count: u64 = count.trim().parse().ok().filter(|_| is_ending)?;
        let is_it = count > 0 && ending.eq_ignore_ascii_case(suffix);
        found = Some(is_it || found == Some(true));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1_OF_PASSWORD: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

    #[test]
    fn the_digits_are_those_of_sha_1() {
        assert_eq!(*digits(&"password".into()), SHA1_OF_PASSWORD);
        assert_eq!(SHA1_OF_PASSWORD.len(), PREFIX + SUFFIX);
    }

    #[test]
    fn an_ending_is_found_whatever_its_case_and_padding_is_not() {
        let suffix = &SHA1_OF_PASSWORD[PREFIX..];
        let other = "0".repeat(SUFFIX);
        let list = format!("{other}:7\r\n{}:42\r\n", suffix.to_lowercase());
        assert_eq!(find(&list, suffix), Some(true));
        assert_eq!(
            find(&format!("{other}:7\r\n{suffix}:0"), suffix),
            Some(false)
        );
        assert_eq!(find(&format!("{other}:7"), suffix), Some(false));
    }

    #[test]
    fn what_is_no_list_says_nothing() {
        let suffix = &SHA1_OF_PASSWORD[PREFIX..];
        for text in [
            "",
            "\r\n",
            "<html>come back later</html>",
            &format!("{suffix}:many"),
            &format!("{suffix}:42\n<html>"),
            &format!("{}:42", &suffix[1..]),
        ] {
            assert_eq!(find(text, suffix), None, "{text}");
        }
    }
}
