//! Clients that go on asking, and what became of each request.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::TIMEOUT;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Nought when there was no answer, or half of one.
    pub status: u16,
    /// Why there was no answer.
    pub error: String,
    /// Whether the connection was refused, so that no request was ever sent.
    pub refused: bool,
    pub is_problem: bool,
    pub retry_after: Option<u64>,
    pub body: Value,
    pub began: Instant,
    pub took: Duration,
}

impl Outcome {
    pub async fn of(request: RequestBuilder) -> Self {
        let began = Instant::now();
        let mut outcome = Self {
            status: 0,
            error: String::new(),
            refused: false,
            is_problem: false,
            retry_after: None,
            body: Value::Null,
            began,
            took: Duration::ZERO,
        };
        let answered = async {
            let response = request.send().await?;
            let header = |name: &str| response.headers().get(name)?.to_str().ok();
            outcome.is_problem = header("content-type") == Some("application/problem+json");
            outcome.retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
            let status = response.status().as_u16();
            outcome.body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
            outcome.status = status;
            Ok::<_, reqwest::Error>(())
        };
        if let Err(error) = answered.await {
            outcome.refused = error.is_connect();
            outcome.error = format!("{error:?}");
        }
        outcome.took = began.elapsed();
        outcome
    }

    /// Whether this is how a request is refused for now: a problem that says when to come back.
    pub fn is_shed(&self) -> bool {
        self.status == 503 && self.is_problem && self.retry_after.is_some_and(|after| after >= 1)
    }
}

/// Whether a request did what it was to do.
pub fn is_fine(outcome: &Outcome) -> bool {
    (200..300).contains(&outcome.status)
}

/// Half of the requests took no longer. A busy machine delays one request or another, and what a request
/// waits for in the service delays all of its kind.
pub fn median(outcomes: &[Outcome]) -> Duration {
    let mut took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    took.sort();
    took[took.len() / 2]
}

/// Clients that ask until they are told to stop.
pub struct Load {
    clients: JoinSet<()>,
    stop: CancellationToken,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

impl Load {
    /// Starts as many clients; each asks what `ask` makes of its number and its turn.
    pub fn start<A, F>(clients: usize, ask: A) -> Self
    where
        A: Fn(usize, usize) -> F + Clone + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        Self::with_pause(Duration::from_millis(10), clients, ask)
    }

    /// Like [`Load::start`], with a pause of this length after each request that failed.
    pub fn with_pause<A, F>(after_failure: Duration, clients: usize, ask: A) -> Self
    where
        A: Fn(usize, usize) -> F + Clone + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut load = Self {
            clients: JoinSet::new(),
            stop: CancellationToken::new(),
            outcomes: Arc::default(),
        };
        for client in 0..clients {
            let (ask, stop) = (ask.clone(), load.stop.clone());
            let outcomes = Arc::clone(&load.outcomes);
            load.clients.spawn(async move {
                for turn in 0.. {
                    let outcome = ask(client, turn).await;
                    let failed = !is_fine(&outcome);
                    outcomes.lock().expect("nobody panics here").push(outcome);
                    if failed && !after_failure.is_zero() {
                        tokio::time::sleep(after_failure).await;
                    }
                    if stop.is_cancelled() {
                        return;
                    }
                }
            });
        }
        load
    }

    /// What became of the requests so far.
    pub fn so_far(&self) -> Vec<Outcome> {
        self.outcomes.lock().expect("nobody panics here").clone()
    }

    /// Lets every client finish its request; answers what became of all.
    pub async fn stop(mut self) -> Vec<Outcome> {
        self.stop.cancel();
        let done = async { while self.clients.join_next().await.is_some() {} };
        tokio::time::timeout(TIMEOUT, done)
            .await
            .expect("every request ends");
        self.so_far()
    }
}
