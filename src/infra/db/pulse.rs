//! Notices when the database falls silent: behind a network that drops everything a query waits
//! for as long as the kernel does, which is a quarter of an hour.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::inspect::read_clock;
use super::{is_current, is_outage};
use crate::infra::Clock;

const EVERY: Duration = Duration::from_millis(500);

/// A difference of the system's clock that is worth a warning.
const TOLERATED_SKEW: TimeDelta = TimeDelta::seconds(5);

/// How long a start waits for the database's clock.
const SYNCHRONIZED_WITHIN: Duration = Duration::from_secs(1);

/// A database that does not answer the smallest of questions for so long answers nothing else.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Connections beside the pool that ask the database how it is, however busy the pool; a clone is
/// another handle on them. Without [`Pulse::watch`] the database never counts as silent.
#[derive(Clone)]
pub struct Pulse(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    clock: Clock,
    clock_differs: AtomicBool,
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
    pub(super) fn new(options: PgConnectOptions, connect_timeout: Duration, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            options,
            clock,
            clock_differs: AtomicBool::new(false),
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
                self.note_clock();
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
        let answer = timeout(SILENT_AFTER, read_clock(&mut connection)).await;
        if let Ok(Ok(sample)) = answer {
            self.0.clock.correct(sample);
            *kept = Some(connection);
        }
        answer.is_ok()
    }

    /// Sets the clock by the database's once, where it responds in time.
    pub async fn synchronize(&self) {
        if timeout(SYNCHRONIZED_WITHIN, self.beat()).await.is_err() {
            tracing::warn!("the clock is not synchronized with the database's yet");
        }
    }

    async fn open(&self, kept: Option<PgConnection>) -> Result<PgConnection, sqlx::Error> {
        match kept {
            Some(connection) => Ok(connection),
            None => self.0.options.connect().await,
        }
    }

    /// Warns when the system's clock begins to differ much from the database's, and when it ends.
    fn note_clock(&self) {
        let Some(ahead) = self.0.clock.system_ahead() else {
            return;
        };
        let differs = ahead.abs() > TOLERATED_SKEW;
        if self.0.clock_differs.swap(differs, Ordering::Relaxed) == differs {
            return;
        }
        let seconds = ahead.num_seconds();
        if differs {
            tracing::warn!(
                seconds,
                "the system clock differs from the database's, which is used"
            );
        } else {
            tracing::info!(seconds, "the system clock agrees with the database's");
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
