//! Heartbeat of PostgreSQL, and the state of the circuit breaker that it drives: behind a network
//! that drops every packet a query waits for as long as the kernel does, a quarter of an hour.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
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

/// Time limit of opening a heartbeat's connection.
const CONNECT: Duration = Duration::from_secs(3);

/// The breaker opens when PostgreSQL has not responded to the smallest of statements for so long,
/// or could not be connected to.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// When a heartbeat tries to connect once more, beside the attempts that have no answer yet.
const NEXT_ATTEMPT: Duration = Duration::from_secs(1);

/// Time limit of a probe's statement on a connection that is open already. One that died in an
/// outage is replaced while the probe still waits.
const KEPT_PROBE: Duration = Duration::from_millis(300);

/// Connections beside the pool that ask the database how it is, however busy the pool; a clone is
/// another handle on them. Without [`Pulse::watch`] the database never counts as silent.
#[derive(Clone)]
pub struct Pulse(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    clock: Clock,
    clock_differs: AtomicBool,
    beating: Mutex<Option<PgConnection>>,
    probing: Mutex<Option<PgConnection>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    silent: bool,
    heard_again: Option<Instant>,
    failing_since: Option<Instant>,
}

/// Result of one heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    /// A connection executes statements.
    Responds,
    /// The server refused for a reason that leaves open connections alone, such as too many of them.
    Refuses,
    /// Nothing listens, or the server is starting or shutting down.
    Unreachable,
    /// No response in time.
    TimedOut,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulse")
    }
}

impl Pulse {
    pub(super) fn new(options: PgConnectOptions, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            options,
            clock,
            clock_differs: AtomicBool::new(false),
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
            ..
        } = *self.0.state.borrow();
        silent || heard_again.is_some_and(|at| at.elapsed() < age)
    }

    /// Returns whether the database has all migrations of this release. A connection that the last probe
    /// left open and that has died since is replaced at once, so that the first probe after an
    /// outage succeeds.
    pub async fn is_current(&self) -> Result<bool, sqlx::Error> {
        // In a task of its own: a probe that ends at its deadline does not break a handshake off, and
        // the next one finds the connection open.
        let pulse = self.clone();
        let probing = tokio::spawn(timeout(CONNECT, async move { pulse.probe().await }));
        match probing.await {
            Ok(Ok(current)) => current,
            Ok(Err(_)) => Err(sqlx::Error::PoolTimedOut),
            Err(_) => Err(sqlx::Error::WorkerCrashed),
        }
    }

    async fn probe(&self) -> Result<bool, sqlx::Error> {
        let mut kept = self.0.probing.lock().await;
        if let Some(mut connection) = kept.take() {
            let current = timeout(KEPT_PROBE, is_current(&mut connection)).await;
            if let Ok(current) = current
                && !current.as_ref().is_err_and(is_outage)
            {
                *kept = Some(connection);
                return current;
            }
        }
        let mut connection = self.0.options.connect().await?;
        let current = is_current(&mut connection).await;
        if !current.as_ref().is_err_and(is_outage) {
            *kept = Some(connection);
        }
        current
    }

    /// Sends heartbeats until `stop`.
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

    async fn beat(&self) -> Beat {
        let mut kept = self.0.beating.lock().await;
        let connecting = async {
            match kept.take() {
                Some(connection) => Ok(connection),
                None => self.connect().await,
            }
        };
        let mut connection = match timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if is_unreachable(&error) => return Beat::Unreachable,
            Ok(Err(_)) => return Beat::Refuses,
            Err(_) => return Beat::TimedOut,
        };
        match timeout(SILENT_AFTER, read_clock(&mut connection)).await {
            Ok(Ok(sample)) => {
                self.0.clock.correct(sample);
                *kept = Some(connection);
                Beat::Responds
            }
            // The connection was cut. The next heartbeat opens another one.
            Ok(Err(_)) => Beat::Unreachable,
            Err(_) => Beat::TimedOut,
        }
    }

    /// Sets the clock by the database's once, where it responds in time.
    pub async fn synchronize(&self) {
        if timeout(SYNCHRONIZED_WITHIN, self.beat()).await.is_err() {
            tracing::warn!("the clock is not synchronized with the database's yet");
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

    /// Opens a connection. An attempt whose first packets were lost is not waited for alone: another
    /// one begins every second beside it.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut attempts = FuturesUnordered::new();
        loop {
            attempts.push(self.0.options.connect());
            if let Ok(Some(connected)) = timeout(NEXT_ATTEMPT, attempts.next()).await {
                return connected;
            }
        }
    }

    fn note(&self, beat: Beat) {
        let changed = self.0.state.send_if_modified(|state| state.note(beat));
        match (changed, self.is_silent()) {
            (true, true) => tracing::warn!("PostgreSQL does not respond: refusing requests"),
            (true, false) => tracing::info!("PostgreSQL responds again"),
            (false, _) => {}
        }
    }
}

impl State {
    /// Opens the breaker after [`SILENT_AFTER`] without a response, and closes it after one
    /// statement was executed, no earlier. Returns whether it opened or closed.
    fn note(&mut self, beat: Beat) -> bool {
        let now = Instant::now();
        let failing_since = *self.failing_since.get_or_insert(now);
        let silent = match beat {
            Beat::Responds => false,
            // Where too many connections are open, those of the pool go on.
            Beat::Refuses => self.silent,
            Beat::Unreachable => self.silent || now.duration_since(failing_since) >= SILENT_AFTER,
            Beat::TimedOut => true,
        };
        if beat == Beat::Responds || (beat == Beat::Refuses && !silent) {
            self.failing_since = None;
        }
        let changed = self.silent != silent;
        if changed {
            self.silent = silent;
            self.heard_again = Some(now);
        }
        changed
    }
}

/// Returns whether a connection could not be opened because nothing accepts it, unlike a server that
/// refuses this one: `57P03` is a server that is starting or shutting down.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(state: &mut State, beats: &[Beat]) -> bool {
        for beat in beats {
            state.note(*beat);
        }
        state.silent
    }

    #[test]
    fn the_breaker_opens_at_once_without_a_response_and_later_without_a_connection() {
        let mut state = State::default();
        assert!(noted(&mut state, &[Beat::TimedOut]));
        let mut state = State::default();
        assert!(!noted(&mut state, &[Beat::Unreachable, Beat::Unreachable]));
        state.failing_since = Instant::now().checked_sub(SILENT_AFTER);
        assert!(noted(&mut state, &[Beat::Unreachable]));
    }

    #[test]
    fn the_breaker_closes_by_a_statement_alone() {
        let mut state = State::default();
        let beats = [Beat::TimedOut, Beat::Refuses, Beat::Unreachable];
        assert!(noted(&mut state, &beats));
        assert!(!noted(&mut state, &[Beat::Responds]));
        assert!(
            !noted(&mut state, &[Beat::Refuses; 100]),
            "the pool may go on"
        );
        assert!(
            !noted(&mut state, &[Beat::Unreachable]),
            "it begins to count"
        );
    }
}
