//! In-process rate limiter by client in front of everything else, against floods.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use governor::middleware::NoOpMiddleware;
use tower_governor::governor::{Governor, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::client::UNKNOWN;
use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::except_probes::{ExceptProbes, HasInner};
use crate::metrics;
use crate::problem::Problem;
use rate_limit::network_of;

/// How often full buckets are removed.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// The layer of [`guard`].
pub type Guard = ExceptProbes<GovernorLayer<ByClient, NoOpMiddleware, Body>>;

/// Token bucket by client: `max` requests at once, refilled within `window`.
/// `/health` passes. Runs inside a Tokio runtime.
///
/// # Panics
/// If `max` or `window` is zero.
#[must_use]
pub fn guard(max: u32, window: Duration) -> Guard {
    // Rounded down, in favour of the client; never zero, at most a million in a second.
    let period = window / max;
    let config = GovernorConfigBuilder::default()
        .key_extractor(ByClient)
        .period(period)
        .burst_size(max)
        .finish();
    let config = Arc::new(config.expect("neither the count nor the time is zero"));
    let clients = Arc::downgrade(config.limiter());
    tokio::spawn(async move {
        // Ends with the layer.
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            let Some(clients) = clients.upgrade() else {
                return;
            };
            clients.retain_recent();
            clients.shrink_to_fit();
        }
    });
    ExceptProbes(GovernorLayer::new(config).error_handler(refuse))
}

impl<S> HasInner<S> for Governor<ByClient, NoOpMiddleware, S, Body> {
    fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

/// Key: client address behind trusted proxies, an IPv6 /64 as one.
#[derive(Clone, Copy, Debug)]
pub struct ByClient;

impl KeyExtractor for ByClient {
    type Key = IpAddr;

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<IpAddr, GovernorError> {
        let addr = RequestContext::of(request.extensions()).map(RequestContext::client_addr);
        Ok(network_of(addr.unwrap_or(UNKNOWN)))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the error over"
)]
fn refuse(error: GovernorError) -> Response {
    let GovernorError::TooManyRequests { wait_time, .. } = error else {
        return Problem::new(ProblemCode::INTERNAL).into_response();
    };
    metrics::count_refused("guard");
    Problem::new(ProblemCode::RATE_LIMITED)
        // The library rounds down.
        .retry_after(Duration::from_secs(wait_time + 1))
        .into_response()
}
