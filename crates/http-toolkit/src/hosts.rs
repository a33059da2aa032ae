//! Host allow-list and redirect to https.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{HOST, LOCATION};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tower::Layer;

use crate::code::ProblemCode;
use crate::config::HttpConfig;
use crate::context::RequestContext;
use crate::except_probes::is_probe;
use crate::problem::Problem;
use crate::reject::{Reject, RejectService};

/// Layer that rejects hosts outside of the allow-list and redirects plain http to https. `/health` is exempt from
/// both, because a prober calls by address.
#[derive(Clone, Debug)]
pub struct TrustedHosts(Arc<HostRules>);

#[derive(Debug)]
pub struct HostRules {
    hosts: Vec<Pattern>,
    /// Those of them that are no patterns.
    verbatim: Vec<String>,
    https: bool,
    /// The public URL without the slash at its end, which redirects go to.
    public_url: String,
}

#[derive(Debug, PartialEq)]
enum Pattern {
    Name(String),
    /// What must follow at least one label: `.example.com`.
    Below(String),
    Addr(IpAddr),
}

impl TrustedHosts {
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        Self(Arc::new(HostRules::new(
            &config.allowed_hosts,
            config.is_https(),
            config.public_url.as_str(),
        )))
    }
}

impl HostRules {
    fn new(hosts: &[impl AsRef<str>], https: bool, public_url: &str) -> Self {
        let hosts = || hosts.iter().map(AsRef::as_ref);
        let is_plain = |host: &&str| !host.starts_with('*');
        Self {
            hosts: hosts().map(Pattern::new).collect(),
            verbatim: hosts().filter(is_plain).map(str::to_owned).collect(),
            https,
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }
}

impl Pattern {
    fn new(host: &str) -> Self {
        match host.strip_prefix('*') {
            Some(suffix) => Self::Below(suffix.to_ascii_lowercase()),
            None => literal(host).map_or_else(|| Self::Name(host.to_ascii_lowercase()), Self::Addr),
        }
    }

    fn matches(&self, host: &str, addr: Option<IpAddr>) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case(host),
            Self::Addr(own) => Some(*own) == addr,
            Self::Below(suffix) => {
                let label = host
                    .len()
                    .checked_sub(suffix.len())
                    .filter(|label| *label > 0);
                addr.is_none()
                    && label
                        .and_then(|at| host.get(at..))
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

/// The address that a host is, if it is one: `127.0.0.1`, `::1`, `[::1]`.
fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

impl Reject for HostRules {
    fn reject(&self, request: &Request) -> Option<Response> {
        if is_probe(request.uri().path()) {
            return None;
        }
        if !self.is_verbatim(request) {
            let authority = match authority(request) {
                Ok(authority) => authority,
                Err(problem) => return Some(problem.into_response()),
            };
            let host = authority.host();
            let addr = literal(host);
            if !self.hosts.iter().any(|pattern| pattern.matches(host, addr)) {
                return Some(Problem::new(ProblemCode::MISDIRECTED_REQUEST).into_response());
            }
        }
        let origin = RequestContext::of(request.extensions()).map(RequestContext::origin);
        let plain = origin.and_then(|origin| origin.https) == Some(false);
        (self.https && plain).then(|| to_https(request, &self.public_url))
    }
}

impl HostRules {
    /// Returns whether the host that a request is for is byte for byte one of ours, as it mostly is: then
    /// there is nothing to parse.
    fn is_verbatim(&self, request: &Request) -> bool {
        let mut lines = request.headers().get_all(HOST).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return false;
        };
        let line = line.to_str();
        let Some(host) = line.ok().filter(|_| request.uri().authority().is_none()) else {
            return false;
        };
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        self.verbatim.iter().any(|own| own == host)
    }
}

/// The host a request is for: of its target in absolute form, else of its one `Host` header.
fn authority(request: &Request) -> Result<Authority, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let mut lines = request.headers().get_all(HOST).iter();
    let authority = match (lines.next(), lines.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    };
    authority
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(|| {
            Problem::new(ProblemCode::BAD_REQUEST).detail("one valid Host header is needed")
        })
}

/// Redirects a reader to the public URL, with its port and path; never to what the request calls its
/// host. A request with a body has already travelled in the open, so its sender must notice.
fn to_https(request: &Request, public_url: &str) -> Response {
    // A proxy that is not trusted would be redirected to itself without end.
    let behind_unknown_proxy = request
        .headers()
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let readable = matches!(*request.method(), Method::GET | Method::HEAD) && !behind_unknown_proxy;
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    match HeaderValue::try_from(format!("{public_url}{target}")) {
        Ok(location) if readable => {
            (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response()
        }
        _ => Problem::new(ProblemCode::HTTPS_REQUIRED).into_response(),
    }
}

impl<S> Layer<S> for TrustedHosts {
    type Service = RejectService<S, HostRules>;

    fn layer(&self, inner: S) -> Self::Service {
        RejectService::new(inner, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn rules(https: bool) -> HostRules {
        let hosts = ["example.com", "*.apps.example.com", "127.0.0.1", "[::1]"];
        HostRules::new(&hosts, https, "https://example.com/")
    }

    fn status(target: &str, hosts: &[&str]) -> Option<u16> {
        let mut request = axum::http::Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let response = rules(false).reject(&request.body(Body::empty()).unwrap());
        response.map(|response| response.status().as_u16())
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in [
            "example.com",
            "EXAMPLE.com:8080",
            "a.apps.example.com",
            "a.b.apps.example.com:1",
            "127.0.0.1:9",
            "[::1]:9",
            "[::1]",
        ] {
            assert_eq!(status("/", &[host]), None, "{host}");
        }
        for host in [
            "evil.com",
            "example.com.evil.com",
            "apps.example.com",
            ".apps.example.com.evil",
            "xapps.example.com",
            "127.0.0.2",
            "[::2]",
            "example.com.",
        ] {
            assert_eq!(status("/", &[host]), Some(421), "{host}");
        }
    }

    #[test]
    fn a_missing_odd_or_double_host_is_a_bad_request() {
        assert_eq!(status("/", &[]), Some(400));
        for host in [
            "",
            "a b",
            "user@example.com",
            "http://example.com",
            "example.com/x",
        ] {
            assert_eq!(status("/", &[host]), Some(400), "{host}");
        }
        assert_eq!(status("/", &["example.com", "example.com"]), Some(400));
    }

    #[test]
    fn an_absolute_target_counts_and_probes_are_exempt() {
        assert_eq!(status("http://evil.com/", &["example.com"]), Some(421));
        assert_eq!(status("http://example.com/", &["evil.com"]), None);
        assert_eq!(status("/health/ready", &["10.1.2.3:8000"]), None);
        assert_eq!(status("/healthy", &["10.1.2.3:8000"]), Some(421));
    }

    #[test]
    fn a_reader_is_sent_to_https_and_a_writer_refused() {
        let ask = |method: Method| {
            let request = axum::http::Request::builder().method(method).uri("/a?b=1");
            to_https(
                &request.body(Body::empty()).unwrap(),
                "https://example.com:8443/app",
            )
        };
        let sent = ask(Method::GET);
        assert_eq!(sent.status(), 308);
        assert_eq!(
            sent.headers()[LOCATION],
            "https://example.com:8443/app/a?b=1"
        );
        assert_eq!(ask(Method::POST).status(), 403);
    }
}
