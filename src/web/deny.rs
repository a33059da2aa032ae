//! Whom the service does not serve: networks, programs by what they call themselves, and countries
//! where a trusted proxy tells them. Each list is empty unless it is set.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::{IntoResponse as _, Response};
use tower::Layer;

use super::client::Origin;
use super::code::Code;
use super::context::RequestContext;
use super::probes::is_probe;
use super::problem::Problem;
use super::refusing::{Refusing, Rules};
use crate::config::DenyConfig;
use crate::metrics;

/// More of a `User-Agent` than this is not looked at.
const USER_AGENT_MAX: usize = 1024;

/// The layer. `/health` passes, since a prober may be anywhere.
#[derive(Clone, Debug)]
pub struct DenyLists(Arc<DenyConfig>);

impl DenyLists {
    /// The layer for these settings.
    #[must_use]
    pub fn new(config: &DenyConfig) -> Self {
        Self(Arc::new(config.clone()))
    }
}

impl Rules for DenyConfig {
    fn refuse(&self, request: &Request) -> Option<Response> {
        let list = denied(self, request)?;
        metrics::count_refused(list);
        Some(Problem::new(Code::AccessDenied).into_response())
    }
}

/// The list that a request is on, as the metric names it.
fn denied(config: &DenyConfig, request: &Request) -> Option<&'static str> {
    if is_probe(request.uri().path()) {
        return None;
    }
    let origin = RequestContext::of(request.extensions()).map(RequestContext::origin)?;
    let headers = request.headers();
    // A client that cannot be told apart from a denied one is denied.
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

/// Anybody could write the header; a trusted proxy writes it anew.
fn comes_from_denied_country(config: &DenyConfig, origin: Origin, headers: &HeaderMap) -> bool {
    let Some(header) = config.country_header.as_ref().filter(|_| origin.proxied) else {
        return false;
    };
    let told = headers.get_all(header).iter();
    let told = told.filter_map(|value| value.to_str().ok());
    told.into_iter().any(|told| {
        let mut countries = config.countries.iter();
        countries.any(|country| country.as_str().eq_ignore_ascii_case(told.trim()))
    })
}

impl<S> Layer<S> for DenyLists {
    type Service = Refusing<S, DenyConfig>;

    fn layer(&self, inner: S) -> Self::Service {
        Refusing::new(inner, &self.0)
    }
}
