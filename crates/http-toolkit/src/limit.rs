//! Rate limit middleware: rejects a client beyond its limit with `Retry-After`, and sets the headers with
//! the state of the limits (draft-ietf-httpapi-ratelimit-headers).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use rate_limit::{Decision, Key, Limit, LimitCheck, Limiter};

use crate::client::UNKNOWN;
use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::exempt::ExemptNetworks;
use crate::metrics;
use crate::problem::{MiddlewareResult, Problem};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Headers that a reply gets from here on.
const HEADERS: usize = 16;

/// Rate limits of each client of a group of routes: the state of [`limit_client`] and [`limit_rejected_credentials`].
#[derive(Clone, Debug)]
pub struct ClientLimits {
    limiter: Limiter,
    limits: Arc<[Limit]>,
    exempt: Option<Exemption>,
}

/// A limit that some networks are exempt from.
#[derive(Clone, Debug)]
struct Exemption {
    limit: Limit,
    networks: ExemptNetworks,
}

impl ClientLimits {
    /// All of these limits at once, each by the client.
    #[must_use]
    pub fn new(limiter: &Limiter, limits: &[Limit]) -> Self {
        Self {
            limiter: limiter.clone(),
            limits: limits.into(),
            exempt: None,
        }
    }

    /// Exempts networks from one of the limits.
    #[must_use]
    pub fn exempt(mut self, limit: Limit, networks: &ExemptNetworks) -> Self {
        if !networks.is_empty() {
            let networks = networks.clone();
            self.exempt = Some(Exemption { limit, networks });
        }
        self
    }

    fn checks(&self, extensions: &Extensions) -> Vec<LimitCheck> {
        let addr = RequestContext::of(extensions).map_or(UNKNOWN, RequestContext::client_addr);
        let key = Key::client(addr);
        let exempt = self.exempt.as_ref();
        let exempt = exempt.filter(|exempt| exempt.networks.contains(addr));
        let limits = self.limits.iter().copied();
        let limits = limits.filter(|limit| exempt.is_none_or(|exempt| exempt.limit != *limit));
        limits.map(|limit| LimitCheck::spend(limit, key)).collect()
    }
}

/// Rejects a client beyond one of the group's limits. All limits take one round trip.
pub async fn limit_client<F: Future<Output = MiddlewareResult>>(
    group: &ClientLimits,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let checks = group.checks(request.extensions());
    if checks.is_empty() {
        return next(request).await;
    }
    limited(&group.limiter, &checks, || next(request)).await
}

/// Counts rejected credentials by client, so that they cannot be guessed. Valid ones spend
/// nothing here.
pub async fn limit_rejected_credentials<F: Future<Output = MiddlewareResult>>(
    group: &ClientLimits,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let checks = group.checks(request.extensions());
    let answer = next(request).await;
    let problem = match &answer {
        Ok(response) => response.extensions().get::<Problem>(),
        Err(problem) => Some(problem),
    };
    if problem.is_none_or(|problem| problem.code() != ProblemCode::UNAUTHENTICATED) {
        return answer;
    }
    let decision = group.limiter.check(&checks).await;
    if !decision.allows() {
        return Ok(refused(&decision));
    }
    Ok(with_headers(&decision, answer))
}

/// Runs `next` if all `checks` allow it, else rejects. The response has the state of the limits either way.
pub async fn limited<F: Future<Output = MiddlewareResult>>(
    limiter: &Limiter,
    checks: &[LimitCheck],
    next: impl FnOnce() -> F,
) -> MiddlewareResult {
    let decision = limiter.check(checks).await;
    if !decision.allows() {
        return Ok(refused(&decision));
    }
    Ok(with_headers(&decision, next().await))
}

/// Spends `checks`, for a handler that knows only by then whom they are about.
pub async fn spend(limiter: &Limiter, checks: &[LimitCheck]) -> Result<(), Problem> {
    let decision = limiter.check(checks).await;
    if decision.allows() {
        return Ok(());
    }
    Err(problem(&decision))
}

/// Spends `checks` if they all allow it; a refusal is counted and not reported to the client.
pub async fn allows(limiter: &Limiter, checks: &[LimitCheck]) -> bool {
    let decision = limiter.check(checks).await;
    let is_allowed = decision.allows();
    if let Some(tightest) = decision.tightest().filter(|_| !is_allowed) {
        metrics::count_refused(tightest.limit.name());
    }
    is_allowed
}

fn refused(decision: &Decision) -> Response {
    with_headers(decision, Err(problem(decision)))
}

fn with_headers(decision: &Decision, answer: MiddlewareResult) -> Response {
    let mut response = answer.into_response();
    write_headers(decision, response.headers_mut());
    response
}

fn problem(decision: &Decision) -> Problem {
    let problem = Problem::new(ProblemCode::RATE_LIMITED);
    let Some(tightest) = decision.tightest() else {
        return problem;
    };
    metrics::count_refused(tightest.limit.name());
    let detail = format!(
        "the limit `{}` allows {} in {} s",
        tightest.limit.name(),
        tightest.limit.max(),
        tightest.limit.window().as_secs(),
    );
    problem
        .detail(detail)
        .retry_after(decision.retry_after().unwrap_or_default())
}

/// Writes how the limits stand: `q` in `w` seconds are allowed, `r` are left, and the oldest of
/// those spent is forgotten in `t` seconds.
fn write_headers(decision: &Decision, headers: &mut HeaderMap) {
    // Room for what the layers around add as well, at once.
    headers.reserve(HEADERS);
    let mut list = String::with_capacity(64);
    for one in &decision.states {
        let limit = one.limit;
        let (max, window) = (limit.max().into(), limit.window().as_secs());
        item(&mut list, limit.name(), [(";q=", max), (";w=", window)]);
    }
    insert(headers, RATELIMIT_POLICY, &list);
    list.clear();
    for one in &decision.states {
        let until = whole_seconds(one.wait.unwrap_or(one.reset));
        let left = one.left().into();
        item(&mut list, one.limit.name(), [(";r=", left), (";t=", until)]);
    }
    insert(headers, RATELIMIT, &list);
}

fn insert(headers: &mut HeaderMap, name: HeaderName, list: &str) {
    if let Ok(value) = HeaderValue::from_str(list) {
        headers.insert(name, value);
    }
}

/// Adds an item with its parameters to a list (RFC 9651 §3.1). Each limited reply has two lists,
/// and a formatter takes several times as long.
fn item(list: &mut String, name: &str, parameters: [(&str, u64); 2]) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push('"');
    list.push_str(name);
    list.push('"');
    for (key, value) in parameters {
        list.push_str(key);
        list.push_str(itoa::Buffer::new().format(value));
    }
}

fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
