//! The client: one call with its retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::Rng;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use crate::error::{CallError, Refusal, SERVER_ERROR};
use crate::pace::Pace;
use crate::response::{Listed, parse, parse_list};
use crate::{API_VERSION, metrics};

/// Tries of a call, the first one included.
const ATTEMPTS: u32 = 3;

/// Before the second try; doubled before the third.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// Bytes of a response. A list of a hundred invoices has about 1 MB.
const MAX_RESPONSE: usize = 8 * 1024 * 1024;

const KEPT_CONNECTIONS: usize = 8;

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct StripeOptions {
    pub api_url: Url,
    pub secret_key: SecretString,
    /// For a call with all its tries.
    pub timeout: Duration,
    pub calls_per_second: u32,
    pub user_agent: &'static str,
}

/// Client of Stripe's API; clones share its connections.
#[derive(Clone, Debug)]
pub struct Stripe(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    options: StripeOptions,
    pace: Pace,
    rng: Rng,
    is_failing: AtomicBool,
}

/// How a try ended that did not succeed.
struct Failed {
    error: CallError,
    /// `None` forbids another try.
    retry_after: Option<Duration>,
}

impl Stripe {
    /// Does not connect yet.
    pub fn new(options: StripeOptions, rng: Rng) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .user_agent(options.user_agent)
            .pool_max_idle_per_host(KEPT_CONNECTIONS)
            .build()?;
        let pace = Pace::per_second(options.calls_per_second);
        Ok(Self(Arc::new(Inner {
            client,
            options,
            pace,
            rng,
            is_failing: AtomicBool::new(false),
        })))
    }

    /// True for a key of live mode.
    #[must_use]
    pub fn is_live(&self) -> bool {
        is_live_key(&self.0.options.secret_key)
    }

    /// True after a call to which Stripe did not respond.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.is_failing.load(Ordering::Relaxed)
    }

    /// Reads an object.
    pub async fn read<R>(&self, request: &R) -> Result<R::Output, CallError>
    where
        R: StripeRequest,
        R::Output: miniserde::Deserialize,
    {
        parse(&self.call(request.build(), None).await?)
    }

    /// Reads a page of a list.
    pub async fn list<R, T>(&self, request: &R) -> Result<Listed<T>, CallError>
    where
        R: StripeRequest<Output = stripe_types::List<T>>,
        T: miniserde::Deserialize,
    {
        parse_list(&self.call(request.build(), None).await?)
    }

    /// Reads a response as it is, for objects that async-stripe's crates in use do not have.
    pub async fn read_raw(&self, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        self.call(request, None).await
    }

    /// Changes something. All tries are under `key`, which the caller has stored or can derive again: Stripe keeps
    /// it for a day, and replays the first response.
    pub async fn write<R>(&self, request: &R, key: &str) -> Result<R::Output, CallError>
    where
        R: StripeRequest,
        R::Output: miniserde::Deserialize,
    {
        parse(&self.call(request.build(), Some(key)).await?)
    }

    async fn call(&self, request: RequestBuilder, key: Option<&str>) -> Result<Vec<u8>, CallError> {
        let began = Instant::now();
        let span = tracing::info_span!(
            target: "otel",
            "call of Stripe",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = method(request.method).as_str(),
            server.address = self.0.options.api_url.host_str(),
        );
        let result = self
            .attempts(&request, key, began)
            .instrument(span.clone())
            .await;
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_call(began.elapsed(), result.as_ref().err());
        let is_failing = matches!(
            result,
            Err(CallError::Unavailable { .. } | CallError::Unknown(_))
        );
        self.0.is_failing.store(is_failing, Ordering::Relaxed);
        result
    }

    async fn attempts(
        &self,
        request: &RequestBuilder,
        key: Option<&str>,
        began: Instant,
    ) -> Result<Vec<u8>, CallError> {
        let deadline = began + self.0.options.timeout;
        let mut backoff = FIRST_BACKOFF;
        let mut is_maybe_done = false;
        for attempt in 1.. {
            if !self.0.pace.wait(deadline).await {
                let error = CallError::Unavailable {
                    reason: "too many calls wait",
                    retry_after: None,
                };
                return Err(unknown_if(is_maybe_done, error));
            }
            let tried = tokio::time::timeout_at(deadline, self.attempt(request, key)).await;
            let failed = match tried {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(failed)) => failed,
                Err(_) => return Err(CallError::Unknown("no response in time")),
            };
            is_maybe_done |= matches!(failed.error, CallError::Unknown(_));
            let Some(least) = failed.retry_after.filter(|_| attempt < ATTEMPTS) else {
                return Err(unknown_if(is_maybe_done, failed.error));
            };
            let wait = least.max(self.jittered(backoff));
            if Instant::now() + wait >= deadline {
                return Err(unknown_if(is_maybe_done, failed.error));
            }
            tokio::time::sleep(wait).await;
            backoff *= 2;
        }
        unreachable!("the last try returns")
    }

    /// Between half of a duration and all of it.
    fn jittered(&self, backoff: Duration) -> Duration {
        let [byte] = self.0.rng.bytes();
        backoff / 2 + backoff * u32::from(byte) / 512
    }

    async fn attempt(
        &self,
        request: &RequestBuilder,
        key: Option<&str>,
    ) -> Result<Vec<u8>, Failed> {
        let options = &self.0.options;
        let mut url = options.api_url.clone();
        url.set_path(&format!(
            "{}/v1{}",
            url.path().trim_end_matches('/'),
            request.path
        ));
        url.set_query(request.query.as_deref());
        let mut call = self
            .0
            .client
            .request(method(request.method), url)
            .bearer_auth(options.secret_key.expose_secret())
            .header("stripe-version", API_VERSION);
        if let Some(body) = &request.body {
            call = call
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
        }
        if let Some(key) = key {
            call = call.header("idempotency-key", key);
        }
        if let Some(traceparent) = telemetry::traceparent() {
            call = call.header("traceparent", traceparent);
        }
        let response = call.send().await.map_err(|error| Failed::of(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refused(status, &headers, &body))
    }
}

/// True for the form of live-mode keys.
fn is_live_key(key: &SecretString) -> bool {
    let key = key.expose_secret();
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}

/// An earlier try of the same call may have had its effect, so that a later one says nothing about it.
fn unknown_if(is_maybe_done: bool, error: CallError) -> CallError {
    match error {
        CallError::Unavailable { .. } if is_maybe_done => {
            CallError::Unknown("a try ended without a response")
        }
        error => error,
    }
}

const fn method(method: StripeMethod) -> Method {
    match method {
        StripeMethod::Get => Method::GET,
        StripeMethod::Post => Method::POST,
        StripeMethod::Delete => Method::DELETE,
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failed::of(&error))? {
        if body.len() + chunk.len() > MAX_RESPONSE {
            return Err(Failed {
                error: CallError::Malformed,
                retry_after: None,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
    let asked = asked.map(Duration::from_secs);
    // Stripe says by this header if it knows.
    let may_retry = match text("stripe-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status.as_u16(), 409 | 429 | 500..),
    };
    let request_id = text("request-id").map(str::to_owned);
    let refusal = Refusal::parse(status.as_u16(), body, request_id);
    let error = match (status.as_u16(), refusal) {
        (429, _) => CallError::Unavailable {
            reason: "too many calls",
            retry_after: asked,
        },
        // A call under the same key is in progress.
        (409, Some(refusal)) if may_retry => {
            tracing::debug!(%refusal, "a call to Stripe is in progress");
            CallError::Unknown("a call under the same key is in progress")
        }
        (500, _) => CallError::Unknown(SERVER_ERROR),
        (501.., _) => CallError::Unknown("the server or a proxy is not available"),
        (_, Some(refusal)) => CallError::Refused(refusal),
        (_, None) => CallError::Unknown("a response that is not Stripe's"),
    };
    Failed {
        error,
        retry_after: may_retry.then(|| asked.unwrap_or_default()),
    }
}

impl Failed {
    fn of(error: &reqwest::Error) -> Self {
        let error = if error.is_connect() {
            CallError::Unavailable {
                reason: "no connection",
                retry_after: None,
            }
        } else {
            CallError::Unknown("the connection was cut")
        };
        Self {
            error,
            retry_after: Some(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_types() {
        assert_eq!(API_VERSION, stripe_shared::version::VERSION.as_str());
    }
}
