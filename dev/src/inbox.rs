//! The mail inbox: takes every email by SMTP, delivers none, and shows them on a page and by the
//! part of the Mailpit API that tests and scripts use. In memory, the newest thousand.

mod api;
mod message;
mod page;
mod smtp;

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

pub use message::{Mailbox, Message};

use crate::{
    error::{Doing, Result},
    ports,
};

const KEPT: usize = 1000;

/// A running inbox; dropping it closes it.
#[derive(Debug)]
pub struct Inbox {
    smtp: SocketAddr,
    http: SocketAddr,
    store: Arc<Store>,
    _tasks: JoinSet<()>,
}

impl Inbox {
    /// Starts an inbox on free ports, for one test.
    ///
    /// # Panics
    /// When 127.0.0.1 has no free port left.
    pub async fn start() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::serve(listen(), listen())
            .await
            .expect("a fresh listener serves")
    }

    /// Starts an inbox on friendly ports, those of the last run if they are free.
    pub async fn start_friendly(last_smtp: Option<u16>, last_http: Option<u16>) -> Result<Self> {
        Self::serve(
            ports::listen(last_smtp, 1025)?,
            ports::listen(last_http, 8025)?,
        )
        .await
    }

    /// Serves on two listeners.
    #[expect(
        clippy::unused_async,
        reason = "it registers with the runtime, so it needs one"
    )]
    pub async fn serve(smtp: TcpListener, http: TcpListener) -> Result<Self> {
        let adopt = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((tokio::net::TcpListener::from_std(listener)?, address))
        };
        let (smtp_listener, smtp) = adopt(smtp).doing(|| "serve the inbox".into())?;
        let (http_listener, http) = adopt(http).doing(|| "serve the inbox".into())?;
        let store = Arc::new(Store::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(smtp::serve(smtp_listener, Arc::clone(&store)));
        let router = api::router()
            .merge(page::router())
            .with_state(Arc::clone(&store));
        tasks.spawn(async move {
            let _ = axum::serve(http_listener, router).await;
        });
        Ok(Self {
            smtp,
            http,
            store,
            _tasks: tasks,
        })
    }

    /// Where emails are taken.
    #[must_use]
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp
    }

    /// Where emails are taken, as the service wants to be told.
    #[must_use]
    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.smtp)
    }

    /// Where emails are read.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where emails are read, without a slash at the end.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Every email, the newest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.store.list()
    }

    /// Every email whose envelope names this recipient, the newest first.
    #[must_use]
    pub fn emails_to(&self, address: &str) -> Vec<Arc<Message>> {
        self.messages()
            .into_iter()
            .filter(|message| message.is_to(address))
            .collect()
    }

    /// Waits until at least this many emails to one recipient are there; the newest first.
    ///
    /// # Panics
    /// After ten seconds, saying what is there.
    pub async fn wait_for_emails_to(&self, address: &str, count: usize) -> Vec<Arc<Message>> {
        let mut changes = self.store.changes.subscribe();
        let enough = async {
            loop {
                changes.borrow_and_update();
                let found = self.emails_to(address);
                if found.len() >= count {
                    return found;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), enough)
            .await
            .unwrap_or_else(|_| {
                let there: Vec<_> = self
                    .messages()
                    .iter()
                    .map(|l| format!("{:?}: {}", l.recipients, l.subject))
                    .collect();
                panic!("{count} messages to {address} did not arrive; there are {there:?}")
            })
    }

    /// Waits for the newest email to one recipient.
    ///
    /// # Panics
    /// When none arrives within ten seconds.
    pub async fn wait_for_email_to(&self, address: &str) -> Arc<Message> {
        self.wait_for_emails_to(address, 1).await.swap_remove(0)
    }

    /// Forgets every email.
    pub fn clear(&self) {
        self.store.clear();
    }

    /// Answers the next emails with this SMTP code, such as 451 or 550, instead of taking them.
    pub fn refuse_next(&self, messages: usize, code: u16) {
        self.store
            .locked()
            .refusals
            .extend(std::iter::repeat_n(code, messages));
    }
}

/// What the SMTP side writes and the HTTP side reads.
#[derive(Debug)]
struct Store {
    state: Mutex<State>,
    changes: watch::Sender<i64>,
}

impl Default for Store {
    fn default() -> Self {
        // Counted from the time, so that a page left open over a restart sees the difference.
        let version = chrono::Utc::now().timestamp_millis();
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(version),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Arc<Message>>,
    refusals: VecDeque<u16>,
}

impl Store {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Vec<Arc<Message>> {
        self.locked().messages.iter().cloned().collect()
    }

    fn find(&self, id: &str) -> Option<Arc<Message>> {
        let state = self.locked();
        if id == "latest" {
            return state.messages.front().cloned();
        }
        state
            .messages
            .iter()
            .find(|message| message.id == id)
            .cloned()
    }

    fn insert(&self, message: Message) {
        let mut state = self.locked();
        state.messages.push_front(Arc::new(message));
        state.messages.truncate(KEPT);
        drop(state);
        self.changed();
    }

    fn clear(&self) {
        self.locked().messages.clear();
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// A number that is another one after every change.
    fn version(&self) -> i64 {
        *self.changes.borrow()
    }

    /// The code to refuse the email at hand with, if a test asked for it.
    fn next_refusal(&self) -> Option<u16> {
        self.locked().refusals.pop_front()
    }
}
