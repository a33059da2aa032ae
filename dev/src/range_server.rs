//! A stand-in for the range API of Have I Been Pwned, which misbehaves on demand.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// Digits that a question has, of forty.
const PREFIX: usize = 5;

/// Lines of an answer that nobody's password begins like.
const PADDING: usize = 800;

/// Lines of an answer that is far too long.
const HUGE: usize = 200_000;

/// How the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As the real one does.
    #[default]
    Honest,
    /// So much later.
    Slow(Duration),
    /// With this status.
    Refusing(u16),
    /// With a page instead of a list.
    Broken,
    /// With some megabytes of well-formed lines.
    Huge,
    /// By pointing elsewhere.
    Pointing,
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct RangeServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What was asked: the last part of the path, and the headers.
#[derive(Clone, Debug)]
pub struct Question {
    /// The digits that were sent.
    pub prefix: String,
    /// The headers.
    pub headers: HeaderMap,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    mood: Mood,
    leaked: Vec<String>,
    asked: Vec<Question>,
}

impl RangeServer {
    /// Starts a server on a free port of the loopback.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let addr = listener.local_addr().expect("the listener has an address");
        let shared = Arc::<Shared>::default();
        let app = Router::new()
            .route("/range/{prefix}", get(answer))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Ends with the task alone.
            let _ = axum::serve(listener, app).await;
        });
        Self { addr, shared, task }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on the password with this SHA-1, in forty digits, is known from a breach.
    pub fn leak(&self, sha1: &str) {
        self.shared.locked().leaked.push(sha1.to_uppercase());
    }

    /// From now on it answers so.
    pub fn be(&self, mood: Mood) {
        self.shared.locked().mood = mood;
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        self.shared.locked().asked.clone()
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(prefix): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (mood, list) = {
        let mut book = shared.locked();
        let list = list(&book.leaked, &prefix);
        book.asked.push(Question { prefix, headers });
        (book.mood, list)
    };
    match mood {
        Mood::Honest => list.into_response(),
        Mood::Slow(by) => {
            sleep(by).await;
            list.into_response()
        }
        Mood::Refusing(status) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            .into_response(),
        Mood::Broken => "<html><p>Come back later".into_response(),
        Mood::Huge => format!("{:035X}:0\r\n", 0).repeat(HUGE).into_response(),
        Mood::Pointing => (StatusCode::FOUND, [(LOCATION, "/range/00000")]).into_response(),
    }
}

/// The endings of what has leaked under this prefix, among lines that count nought times.
fn list(leaked: &[String], prefix: &str) -> String {
    let padding = (0..PADDING).map(|n| format!("{n:035X}:0"));
    let found = leaked
        .iter()
        .filter_map(|sha1| sha1.strip_prefix(prefix))
        .filter(|ending| ending.len() == 40 - PREFIX)
        .map(|ending| format!("{ending}:3"));
    padding.chain(found).collect::<Vec<_>>().join("\r\n")
}
