//! Notices when the database falls silent: behind a network that drops everything a query waits
//! for as long as the kernel does, which is a quarter of an hour.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{is_current, is_outage};

const EVERY: Duration = Duration::from_millis(500);

/// A database that does not answer the smallest of questions for so long answers nothing else.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Connections beside the pool that ask the database how it is, however busy the pool; a clone is
/// another handle on them. Without [`Pulse::watch`] the database never counts as silent.
#[derive(Clone)]
pub struct Pulse(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    connect_timeout: Duration,
    beating: Mutex<Option<PgConnection>>,
    probing: Mutex<Option<PgConnection>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    silent: bool,
    heard_again: Option<Instant>,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulse")
    }
}

impl Pulse {
    pub(super) fn new(options: PgConnectOptions, connect_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            options,
            connect_timeout,
            beating: Mutex::default(),
            probing: Mutex::default(),
            state: watch::Sender::default(),
        }))
    }

    /// Whether the database is silent at the moment.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.0.state.borrow().silent
    }

    /// Resolves as soon as the database is silent.
    pub async fn silenced(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.silent).await;
    }

    /// Whether a connection of this age has lived through a silence: its other end may be gone.
    pub(super) fn outlived(&self, age: Duration) -> bool {
        let State {
            silent,
            heard_again,
        } = *self.0.state.borrow();
        silent || heard_again.is_some_and(|at| at.elapsed() < age)
    }

    /// Whether the database has all migrations of this release.
    pub async fn is_current(&self) -> Result<bool, sqlx::Error> {
        let mut kept = self.0.probing.lock().await;
        let mut connection = self.open(kept.take()).await?;
        let current = is_current(&mut connection).await;
        if !current.as_ref().is_err_and(is_outage) {
            *kept = Some(connection);
        }
        current
    }

    /// Listens until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.note(self.beat().await);
                sleep(EVERY).await;
            }
        })
        .await;
    }

    /// Whether there was an answer, of whatever kind.
    async fn beat(&self) -> bool {
        let mut kept = self.0.beating.lock().await;
        let connecting = self.open(kept.take());
        let Ok(connection) = timeout(self.0.connect_timeout, connecting).await else {
            return false;
        };
        let Ok(mut connection) = connection else {
            return true;
        };
        let answer = timeout(SILENT_AFTER, connection.ping()).await;
        if matches!(answer, Ok(Ok(()))) {
            *kept = Some(connection);
        }
        answer.is_ok()
    }

    async fn open(&self, kept: Option<PgConnection>) -> Result<PgConnection, sqlx::Error> {
        match kept {
            Some(connection) => Ok(connection),
            None => self.0.options.connect().await,
        }
    }

    fn note(&self, heard: bool) {
        let changed = self.0.state.send_if_modified(|state| {
            if state.silent != heard {
                return false;
            }
            *state = State {
                silent: !heard,
                heard_again: Some(Instant::now()),
            };
            true
        });
        match (changed, heard) {
            (true, true) => tracing::info!("the database is heard again"),
            (true, false) => tracing::warn!("the database is silent"),
            (false, _) => {}
        }
    }
}
