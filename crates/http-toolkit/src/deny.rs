//! Deny-lists by network, user agent, and country as reported by a trusted proxy.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
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

/// Clients that are not served. Empty lists deny nobody.
#[derive(Clone, Debug, Default)]
pub struct DenyConfig {
    pub networks: Vec<IpNet>,
    pub user_agents: Vec<AgentPattern>,
    /// Two-letter codes in the country header.
    pub countries: Vec<String>,
    /// Header in which trusted proxies send the country.
    pub country_header: Option<HeaderName>,
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

impl FromStr for AgentPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
            let pattern = AgentPattern::from_str(pattern).expect("it is one");
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
            assert!(AgentPattern::from_str(pattern).is_err(), "{pattern}");
        }
    }
}
