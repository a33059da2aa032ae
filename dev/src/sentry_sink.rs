//! A stand-in for Sentry: takes envelopes and lets a test look at what is in them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

/// How long a report may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The sink; it ends when it is dropped.
#[derive(Debug)]
pub struct SentrySink {
    addr: SocketAddr,
    received: Arc<Received>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Received(Mutex<Vec<Item>>);

/// One item of an envelope.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is: `event`, `transaction`, …
    pub kind: String,
    /// What it says; null where that is no JSON.
    pub body: Value,
    /// The whole delivery as it came, headers included, to look for what must not be in it.
    pub raw: Arc<str>,
}

impl SentrySink {
    /// Starts a sink on a free port of the loopback.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let addr = listener.local_addr().expect("the listener has an address");
        let received = Arc::<Received>::default();
        let app = Router::new()
            .route("/api/{project}/envelope/", post(take))
            .with_state(Arc::clone(&received));
        let task = tokio::spawn(async move {
            // Ends with the task alone.
            let _ = axum::serve(listener, app).await;
        });
        Self {
            addr,
            received,
            task,
        }
    }

    /// What `SENTRY_DSN` must be for reports to come here.
    #[must_use]
    pub fn dsn(&self) -> String {
        format!("http://public@{}/1", self.addr)
    }

    /// Every item so far, in the order of arrival.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.received.locked().clone()
    }

    /// Every report of an error so far.
    #[must_use]
    pub fn events(&self) -> Vec<Item> {
        self.of_kind("event")
    }

    /// Every traced request so far.
    #[must_use]
    pub fn transactions(&self) -> Vec<Item> {
        self.of_kind("transaction")
    }

    /// Waits for a report that `wanted` recognises.
    ///
    /// # Panics
    /// After ten seconds, saying what is there.
    pub async fn wait_for_event(&self, wanted: impl Fn(&Value) -> bool) -> Item {
        let began = Instant::now();
        loop {
            let events = self.events();
            if let Some(event) = events.iter().find(|event| wanted(&event.body)) {
                return event.clone();
            }
            assert!(
                began.elapsed() < TIMEOUT,
                "the report did not arrive; there are {events:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn of_kind(&self, kind: &str) -> Vec<Item> {
        let mut items = self.items();
        items.retain(|item| item.kind == kind);
        items
    }
}

impl Drop for SentrySink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    fn locked(&self) -> MutexGuard<'_, Vec<Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    State(received): State<Arc<Received>>,
    headers: HeaderMap,
    body: Bytes,
) -> axum::Json<Value> {
    let body = String::from_utf8_lossy(&body);
    let raw = format!("{headers:?}\n{body}").into();
    received.locked().extend(items(&body, &raw));
    axum::Json(json!({}))
}

/// The items of an envelope: after its own header, each a line of header and a line of body. Those
/// that we send have no line's end within.
fn items(envelope: &str, raw: &Arc<str>) -> Vec<Item> {
    let mut lines = envelope.lines().skip(1).filter(|line| !line.is_empty());
    let mut items = Vec::new();
    while let (Some(header), Some(body)) = (lines.next(), lines.next()) {
        let header: Value = serde_json::from_str(header).unwrap_or_default();
        items.push(Item {
            kind: header["type"].as_str().unwrap_or_default().to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
            raw: Arc::clone(raw),
        });
    }
    items
}
