//! Metering middleware of signed-in routes: checks the account's quota before a request and counts it after.
//! Both work in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::IntoResponse as _;
use chrono::{DateTime, Utc};
use clock::Month;
use http_toolkit::{MiddlewareResult, Problem, operations};
use usage_meter::{Endpoint, Meter, MeterKey, minute_of};
use utoipa::openapi::OpenApi;

use super::model::is_charged;
use crate::ctx::Caller;
use crate::ids::AccountId;
use crate::metrics::{self, Quota};
use crate::plans::{self, Plan};
use crate::policy::Policy;
use crate::state::AppState;
use crate::web::Code;

/// Status of a request whose client disconnected, as in the access log.
const CLIENT_DISCONNECTED: u16 = 499;

/// Metering of one group of routes.
#[derive(Clone, Debug)]
pub struct Metering(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: AppState,
    endpoints: HashMap<String, Vec<(Method, Endpoint)>>,
    is_exempt_from_quota: bool,
    /// Below this the plan need not be looked up.
    smallest_quota: Option<u64>,
}

impl Metering {
    pub fn new(state: &AppState, policy: &Policy, document: &OpenApi) -> Self {
        let endpoints = document.paths.paths.iter().map(|(path, item)| {
            let mut item = item.clone();
            let endpoints = operations(&mut item).map(|(method, _)| {
                let endpoint = state.meter.endpoint(&format!("{method} {path}"));
                (method, endpoint)
            });
            (path.clone(), endpoints.collect())
        });
        let quotas = Plan::ALL
            .into_iter()
            .filter_map(|plan| hard_quota(state, plan));
        Self(Arc::new(Inner {
            smallest_quota: quotas.min(),
            endpoints: endpoints.collect(),
            is_exempt_from_quota: policy.is_exempt_from_quota,
            state: state.clone(),
        }))
    }

    fn find(&self, method: &Method, path: &str) -> Option<Endpoint> {
        // axum serves HEAD by the handler of GET.
        let method = if *method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let known = self.0.endpoints.get(path)?;
        known.iter().find(|it| it.0 == *method).map(|it| it.1)
    }

    /// Rejects a request beyond the hard quota of the plan.
    async fn check_quota(
        &self,
        account_id: AccountId,
        month: Month,
        now: DateTime<Utc>,
    ) -> Result<(), Problem> {
        let state = &self.0.state;
        let used = state.meter.used(account_id.0, month.number());
        if self.0.smallest_quota.is_none_or(|quota| used < quota) {
            return Ok(());
        }
        // Fails open, since the rate limit still bounds the account.
        let Ok(plan) = plans::plan_of(state, account_id).await else {
            return Ok(());
        };
        if hard_quota(state, plan).is_none_or(|quota| used < quota) {
            return Ok(());
        }
        state.meter.mark_rejected(account_id.0, month.number());
        metrics::count_quota_refusal(Quota::Requests);
        let wait = (month.end() - now).to_std().unwrap_or(Duration::ZERO);
        Err(Problem::new(Code::QuotaExceeded)
            .detail("The requests of this month are used up.")
            .field("requests", "quota_exceeded", "are used up")
            .retry_after(wait))
    }
}

fn hard_quota(state: &AppState, plan: Plan) -> Option<u64> {
    let quota = plan.tier(&state.plans).quota;
    quota
        .filter(|quota| quota.hard)
        .map(|quota| quota.requests.into())
}

/// Counts a request of a signed-in caller, unless it is refused for a spent quota.
pub async fn meter<F: Future<Output = MiddlewareResult>>(
    metering: &Metering,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let path = request.extensions().get::<MatchedPath>();
    let found = path.and_then(|path| metering.find(request.method(), path.as_str()));
    let Some(endpoint) = found else {
        return next(request).await;
    };
    let now = metering.0.state.clock.now();
    let month = Month::of(now);
    if !metering.0.is_exempt_from_quota {
        metering
            .check_quota(caller.account_id(), month, now)
            .await?;
    }
    let mut call = Call {
        meter: metering.0.state.meter.clone(),
        key: MeterKey {
            account: caller.account_id().0,
            endpoint,
            status: CLIENT_DISCONNECTED,
            minute: minute_of(now),
        },
        month,
        began: Instant::now(),
    };
    let response = next(request).await.into_response();
    call.key.status = response.status().as_u16();
    Ok(response)
}

/// Counts a request when dropped, also if its client disconnects or its handler panics.
struct Call {
    meter: Meter,
    key: MeterKey,
    month: Month,
    began: Instant,
}

impl Drop for Call {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.key.status = 500;
        }
        let period = is_charged(self.key.status).then(|| self.month.number());
        if !self.meter.record(self.key, self.began.elapsed(), period) {
            metrics::count_dropped_usage();
        }
    }
}
