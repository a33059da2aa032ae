//! Heartbeat of PostgreSQL, and the circuit breaker that it drives: behind a network that drops every
//! packet a query would wait for a quarter of an hour, as the kernel does.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clock::Clock;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::inspect::read_clock;
use super::is_outage;
use super::migrations::applied_version;
use super::outages::Outages;

const EVERY: Duration = Duration::from_millis(500);

/// Clock skew that is logged.
const TOLERATED_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Time limit of the first synchronization of the clock.
const SYNCHRONIZE_TIMEOUT: Duration = Duration::from_secs(1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The breaker opens when a heartbeat has had no response, or no connection, for this long.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(2);

/// Delay before another connection attempt is started beside those in progress.
const NEXT_ATTEMPT: Duration = Duration::from_secs(1);

/// Time limit of a probe on a kept connection, which may have died: it is then replaced.
const KEPT_PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// Health of PostgreSQL, on connections beside the pool; clones share it. Without [`Heartbeat::watch`]
/// the breaker never opens.
#[derive(Clone)]
pub struct Heartbeat(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    /// Of `DATABASE_DIRECT_URL`.
    direct: Option<PgConnectOptions>,
    schema_version: Option<i64>,
    clock: Clock,
    clock_differs: AtomicBool,
    beating: Mutex<Option<PgConnection>>,
    probing: Mutex<Option<PgConnection>>,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    is_unresponsive: bool,
    is_standby: bool,
    /// Connections that are older are not used again.
    discarded: Option<Instant>,
    failing_since: Option<Instant>,
    outages: Outages,
}

/// Result of one heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    Responds,
    /// Rejected for a reason that does not concern open connections, such as too many of them, or not in time since all
    /// sessions of a pooler are in use.
    Refuses,
    /// Nothing listens, or the server is starting or shutting down.
    Unreachable,
    /// The server, or a proxy in front of it, has closed the connection: it restarts or fails over, and has closed those
    /// of the pool as well.
    Closed,
    /// Responds, and takes no writes.
    IsStandby,
    TimedOut,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heartbeat")
    }
}

impl Heartbeat {
    pub(super) fn new(
        options: PgConnectOptions,
        direct: Option<PgConnectOptions>,
        schema_version: Option<i64>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            options,
            direct,
            schema_version,
            clock,
            clock_differs: AtomicBool::new(false),
            beating: Mutex::default(),
            probing: Mutex::default(),
            state: watch::Sender::default(),
        }))
    }

    /// Returns whether the breaker is open.
    #[must_use]
    pub fn is_unresponsive(&self) -> bool {
        self.0.state.borrow().is_unresponsive
    }

    /// Opens or closes the breaker, where the server is watched otherwise than by [`Heartbeat::watch`].
    pub(super) fn set_unresponsive(&self, is_unresponsive: bool) {
        self.0.state.send_if_modified(|state| {
            let changed = state.is_unresponsive != is_unresponsive;
            if changed {
                state.is_unresponsive = is_unresponsive;
                state.discarded = Some(Instant::now());
            }
            changed
        });
    }

    /// Resolves when the breaker opens.
    pub async fn unresponsive(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.is_unresponsive).await;
    }

    /// Returns whether a connection of this age is older than the last outage or failover: its peer may be gone, or no
    /// longer be the primary.
    pub(super) fn outlived(&self, age: Duration) -> bool {
        let state = self.0.state.borrow();
        state.is_unresponsive || state.discarded.is_some_and(|at| at.elapsed() < age)
    }

    /// Time within the last `age` in which PostgreSQL did not respond, to the half second.
    #[must_use]
    pub fn outage_within(&self, age: Duration) -> Duration {
        self.0.state.borrow().outages.within(age, Instant::now())
    }

    /// Returns whether the last heartbeat reached a standby.
    pub(super) fn reached_standby(&self) -> bool {
        self.0.state.borrow().is_standby
    }

    /// Asks the server whether it is a standby, on a connection of its own.
    pub async fn is_standby(&self) -> Result<bool, sqlx::Error> {
        let mut connection = self.connect().await?;
        let (_, is_standby) = read_clock(&mut connection).await?;
        Ok(is_standby)
    }

    /// Readiness probe: returns whether all migrations of this release are applied. The kept connection
    /// is replaced if it has died, so that the first probe after an outage succeeds.
    pub async fn is_current(&self) -> Result<bool, sqlx::Error> {
        // In a task of its own: a caller's deadline does not cancel the handshake, and the next probe
        // finds the connection open.
        let heartbeat = self.clone();
        let probing = tokio::spawn(timeout(
            CONNECT_TIMEOUT,
            async move { heartbeat.probe().await },
        ));
        match probing.await {
            Ok(Ok(current)) => current,
            Ok(Err(_)) => Err(sqlx::Error::PoolTimedOut),
            Err(_) => Err(sqlx::Error::WorkerCrashed),
        }
    }

    /// Direct connection if the pooler accepts connections and the server too: then a statement that timed out has waited for
    /// a session. The breaker would close the connections of all processes, and readiness take all out of the load balancer.
    async fn past_busy_pooler(&self) -> Option<PgConnection> {
        let direct = self.0.direct.as_ref()?;
        let connecting = async { tokio::try_join!(self.0.options.connect(), direct.connect()) };
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let (_, mut direct) = connected.ok()?.ok()?;
        let responds = timeout(UNRESPONSIVE_AFTER, read_clock(&mut direct)).await;
        let (_, is_standby) = responds.ok()?.ok()?;
        (!is_standby).then_some(direct)
    }

    async fn probe(&self) -> Result<bool, sqlx::Error> {
        let mut kept = self.0.probing.lock().await;
        let mut delay = KEPT_PROBE_TIMEOUT;
        if let Some(mut connection) = kept.take() {
            let current = timeout(KEPT_PROBE_TIMEOUT, self.is_current_on(&mut connection)).await;
            if let Ok(current) = current
                && !current.as_ref().is_err_and(is_outage)
            {
                *kept = Some(connection);
                return current;
            }
            delay = Duration::ZERO;
        }
        let replaced = async {
            let mut connection = self.0.options.connect().await?;
            let current = self.is_current_on(&mut connection).await;
            Ok::<_, sqlx::Error>((connection, current))
        };
        let past_pooler = async {
            sleep(delay).await;
            let mut direct = self.past_busy_pooler().await?;
            Some(self.is_current_on(&mut direct).await)
        };
        tokio::select! {
            biased;
            replaced = replaced => {
                let (connection, current) = replaced?;
                if !current.as_ref().is_err_and(is_outage) {
                    *kept = Some(connection);
                }
                current
            }
            Some(current) = past_pooler => current,
        }
    }

    async fn is_current_on(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let (version, is_standby) = applied_version(connection).await?;
        refuse_standby(is_standby)?;
        Ok(version >= self.0.schema_version)
    }

    /// Sends heartbeats until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.record(self.beat().await);
                self.log_clock_skew();
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
        let mut connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if is_unreachable(&error) => return Beat::Unreachable,
            Ok(Err(_)) => return Beat::Refuses,
            Err(_) => return Beat::TimedOut,
        };
        match timeout(UNRESPONSIVE_AFTER, read_clock(&mut connection)).await {
            // The next heartbeat opens another connection, which may lead to the primary.
            Ok(Ok((_, true))) => Beat::IsStandby,
            Ok(Ok((sample, false))) => {
                self.0.clock.correct(sample);
                *kept = Some(connection);
                Beat::Responds
            }
            Ok(Err(error)) if is_outage(&error) => Beat::Closed,
            Ok(Err(_)) => Beat::Unreachable,
            Err(_) if self.past_busy_pooler().await.is_some() => Beat::Refuses,
            Err(_) => Beat::TimedOut,
        }
    }

    /// Synchronizes the clock once, where the database responds within a second.
    pub async fn synchronize(&self) {
        if timeout(SYNCHRONIZE_TIMEOUT, self.beat()).await.is_err() {
            tracing::warn!("the clock is not synchronized with the database's yet");
        }
    }

    /// Logs when the clock skew begins and ends.
    fn log_clock_skew(&self) {
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

    /// Opens a connection. Another attempt is started every second beside those in progress, whose first
    /// packets may have been lost.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut attempts = FuturesUnordered::new();
        loop {
            attempts.push(self.0.options.connect());
            if let Ok(Some(connected)) = timeout(NEXT_ATTEMPT, attempts.next()).await {
                return connected;
            }
        }
    }

    fn record(&self, beat: Beat) {
        let was_standby = self.reached_standby();
        let changed = self.0.state.send_if_modified(|state| state.record(beat));
        match (changed, self.is_unresponsive()) {
            _ if beat == Beat::IsStandby => {
                if !was_standby {
                    tracing::warn!(
                        "PostgreSQL is a standby, which takes no writes: refusing requests"
                    );
                }
            }
            (true, true) => tracing::warn!("PostgreSQL does not respond: refusing requests"),
            (true, false) => tracing::info!("PostgreSQL responds again"),
            (false, _) => {}
        }
    }
}

impl State {
    /// Opens the breaker after [`UNRESPONSIVE_AFTER`], and closes it after an executed statement. Returns
    /// whether it changed.
    fn record(&mut self, beat: Beat) -> bool {
        let now = Instant::now();
        // A refusal says nothing about the connections of the pool.
        if beat != Beat::Refuses {
            self.outages.record(beat == Beat::Responds, now);
        }
        let failing_since = *self.failing_since.get_or_insert(now);
        let is_unresponsive = match beat {
            Beat::Responds => false,
            // Connections of the pool still work.
            Beat::Refuses => self.is_unresponsive,
            Beat::Unreachable | Beat::Closed => {
                self.is_unresponsive || now.duration_since(failing_since) >= UNRESPONSIVE_AFTER
            }
            Beat::IsStandby | Beat::TimedOut => true,
        };
        if beat == Beat::Responds || (beat == Beat::Refuses && !is_unresponsive) {
            self.failing_since = None;
        }
        let changed = self.is_unresponsive != is_unresponsive;
        self.is_unresponsive = is_unresponsive;
        self.is_standby = beat == Beat::IsStandby;
        if changed || beat == Beat::Closed {
            self.discarded = Some(now);
        }
        changed
    }
}

/// The server is a standby.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL is a standby, which takes no writes")]
struct IsStandby;

/// Fails on a standby, as an outage.
pub(super) fn refuse_standby(is_standby: bool) -> Result<(), sqlx::Error> {
    if is_standby {
        return Err(sqlx::Error::Io(io::Error::other(IsStandby)));
    }
    Ok(())
}

/// Returns whether nothing accepts connections; `57P03` is a server that is starting or shutting down.
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

    fn after(state: &mut State, beats: &[Beat]) -> bool {
        for beat in beats {
            state.record(*beat);
        }
        state.is_unresponsive
    }

    #[test]
    fn the_breaker_opens_at_once_without_a_response_and_later_without_a_connection() {
        let mut state = State::default();
        assert!(after(&mut state, &[Beat::TimedOut]));
        let mut state = State::default();
        assert!(!after(&mut state, &[Beat::Unreachable, Beat::Unreachable]));
        state.failing_since = Instant::now().checked_sub(UNRESPONSIVE_AFTER);
        assert!(after(&mut state, &[Beat::Unreachable]));
    }

    #[test]
    fn the_breaker_opens_at_once_on_a_standby() {
        let mut state = State::default();
        assert!(after(&mut state, &[Beat::Responds, Beat::IsStandby]));
        assert!(state.discarded.is_some());
        assert!(!after(&mut state, &[Beat::Responds]));
    }

    #[test]
    fn older_connections_are_discarded_once_one_is_closed_and_the_breaker_stays_closed() {
        let mut state = State::default();
        assert!(!after(&mut state, &[Beat::Responds, Beat::Refuses]));
        assert!(state.discarded.is_none());
        assert!(!after(&mut state, &[Beat::Closed]));
        assert!(state.discarded.is_some());
    }

    #[test]
    fn the_breaker_closes_by_a_statement_alone() {
        let mut state = State::default();
        let beats = [Beat::TimedOut, Beat::Refuses, Beat::Unreachable];
        assert!(after(&mut state, &beats));
        assert!(!after(&mut state, &[Beat::Responds]));
        assert!(
            !after(&mut state, &[Beat::Refuses; 100]),
            "the pool may go on"
        );
        assert!(
            !after(&mut state, &[Beat::Unreachable]),
            "it begins to count"
        );
    }
}
