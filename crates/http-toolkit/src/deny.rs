//! Deny-lists by network, user agent, and country as reported by a trusted proxy.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse as _, Response};
use settings::{List, Network, Setting};
use tower::Layer;

use crate::client::Origin;
use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::except_probes::is_probe;
use crate::metrics;
use crate::problem::Problem;
use crate::reject::{Reject, RejectService};

/// Bytes of a `User-Agent` that are matched.
const USER_AGENT_MAX: usize = 1024;

settings::settings! {
    /// Clients that are not served. Empty lists deny nobody.
    #[derive(Default)]
    pub struct DenyConfig {}
    "Denied clients", DenySettings {
        /// Networks and addresses that are not served.
        DENY_NETWORKS => networks: List<Network>,
            check(|network| network.prefix_len() > 0, "must not be every address there is");
        /// Programs that are not served: text found anywhere in `User-Agent`, in any case; `*` stands
        /// for anything between.
        DENY_USER_AGENTS => user_agents: List<AgentPattern>;
        /// Countries that are not served, by the two letters that a trusted proxy sends.
        DENY_COUNTRIES => countries: List<Country>;
        /// Header in which trusted proxies send the country: `CF-IPCountry`; required with
        /// `DENY_COUNTRIES`.
        COUNTRY_HEADER => country_header: Option<HeaderName>;
    }
}

/// Case-insensitive substring of a `User-Agent`; `*` stands for anything between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPattern(Vec<String>);

impl AgentPattern {
    /// Matches a lower-case text, in time linear in its length whatever the pattern.
    #[must_use]
    pub fn matches(&self, agent: &str) -> bool {
        let found = self.0.iter().try_fold(agent, |rest, part| {
            rest.split_once(part.as_str()).map(|(_, rest)| rest)
        });
        found.is_some()
    }
}

impl Setting for AgentPattern {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split('*').filter(|part| !part.is_empty());
        let parts: Vec<_> = parts.map(str::to_lowercase).collect();
        // A single letter would deny everybody.
        let longest = parts.iter().map(String::len).max();
        if longest.is_none_or(|longest| longest < 3) {
            return Err(
                "must be patterns such as badbot or python*requests, with 3 letters at least"
                    .to_owned(),
            );
        }
        Ok(Self(parts))
    }
}

/// Country code (ISO 3166-1), or one that a proxy makes up, such as `T1` for Tor.
#[derive(Debug)]
pub struct Country;

impl Setting for Country {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| text.to_ascii_uppercase())
            .ok_or_else(|| "must be codes of two letters, such as AQ".to_owned())
    }
}

/// Layer that rejects denied clients. `/health` is exempt, since a prober may be anywhere.
#[derive(Clone, Debug)]
pub struct DenyLists(Arc<DenyConfig>);

impl DenyLists {
    #[must_use]
    pub fn new(config: &DenyConfig) -> Self {
        Self(Arc::new(config.clone()))
    }
}

impl Reject for DenyConfig {
    fn reject(&self, request: &Request) -> Option<Response> {
        let list = denied(self, request)?;
        metrics::count_refused(list);
        Some(Problem::new(ProblemCode::ACCESS_DENIED).into_response())
    }
}

/// The list that a request is on, as the metric names it.
fn denied(config: &DenyConfig, request: &Request) -> Option<&'static str> {
    if is_probe(request.uri().path()) {
        return None;
    }
    let origin = RequestContext::of(request.extensions()).map(RequestContext::origin)?;
    let headers = request.headers();
    // A client that cannot be distinguished from a denied one is denied.
    let unknown = origin.is_unknown() && !config.networks.is_empty();
    if unknown || config.networks.iter().any(|net| net.contains(&origin.addr)) {
        Some("network")
    } else if names_denied_agent(config, headers) {
        Some("user_agent")
    } else if comes_from_denied_country(config, origin, headers) {
        Some("country")
    } else {
        None
    }
}

fn names_denied_agent(config: &DenyConfig, headers: &HeaderMap) -> bool {
    if config.user_agents.is_empty() {
        return false;
    }
    let Some(agent) = headers.get(USER_AGENT) else {
        return false;
    };
    let bytes = agent.as_bytes();
    let agent = String::from_utf8_lossy(&bytes[..bytes.len().min(USER_AGENT_MAX)]);
    let agent = agent.to_lowercase();
    let mut patterns = config.user_agents.iter();
    patterns.any(|pattern| pattern.matches(&agent))
}

/// Anybody could write the header; a trusted proxy overwrites it.
fn comes_from_denied_country(config: &DenyConfig, origin: Origin, headers: &HeaderMap) -> bool {
    let Some(header) = config.country_header.as_ref().filter(|_| origin.proxied) else {
        return false;
    };
    let sent = headers.get_all(header).iter();
    let sent = sent.filter_map(|value| value.to_str().ok());
    sent.into_iter().any(|sent| {
        let mut countries = config.countries.iter();
        countries.any(|country| country.eq_ignore_ascii_case(sent.trim()))
    })
}

impl<S> Layer<S> for DenyLists {
    type Service = RejectService<S, DenyConfig>;

    fn layer(&self, inner: S) -> Self::Service {
        RejectService::new(inner, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_in_any_case_and_in_order() {
        let matches = |pattern: &str, agent: &str| {
            let pattern = AgentPattern::parse(pattern).expect("it is one");
            pattern.matches(&agent.to_lowercase())
        };
        assert!(matches("BadBot", "Mozilla/5.0 (compatible; badbot/2.1)"));
        assert!(matches("python*requests", "python-requests/2.31"));
        assert!(matches("*curl*", "curl/8.5"));
        assert!(!matches("python*requests", "requests for python"));
        assert!(!matches("badbot", "goodbot"));
        let hostile = "a".repeat(100_000);
        assert!(!matches(&"*aaa".repeat(40_000), &hostile));
    }

    #[test]
    fn a_pattern_that_shuts_everybody_out_is_refused() {
        for pattern in ["*", "***", "a", "ab", "*a*b*"] {
            assert!(AgentPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
