//! Measures the lag of the replica twice a second, on a connection to each side.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions as _, Error, Executor as _, PgConnection, Row as _};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::lag::{Lsn, Position, Positions, Usage};
use super::{POSITION, RESPONSE_TIMEOUT, Replica, State};
use crate::pooling::Place;

const EVERY: Duration = Duration::from_millis(500);

/// While the replica must not be read, since each measurement then opens a connection.
const EVERY_UNFIT: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that are kept open, so that few reads wait for a handshake when the standby is read again.
const WARM: u32 = 4;

/// Why the replica is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Lags,
    Unavailable(String),
    /// It must not be read.
    Unfit(String),
}

/// Result of a measurement.
enum Found {
    /// The primary did not respond, so that nothing is known of the lag. The floor ages.
    NoPrimary,
    Lag {
        lag: Option<Duration>,
        is_primary: bool,
    },
    Failed(Reason),
}

/// A server and the connection to it that is kept.
struct Server {
    options: PgConnectOptions,
    kept: Option<PgConnection>,
}

/// Position of a server, and what it is.
struct Reply {
    lsn: Lsn,
    is_standby: bool,
    /// Start of the server: no two have the same.
    started: String,
}

struct Watch {
    replica: Replica,
    primary: Server,
    standby: Server,
    positions: Positions,
    usage: Usage,
    replayed: Option<Lsn>,
    reason: Option<Reason>,
}

impl Replica {
    /// Measures the lag, and keeps some connections open, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        let (db, breaker) = (self.0.db.clone(), self.0.breaker.clone());
        let warm = crate::keep_warm(db, breaker, WARM, stop.clone());
        tokio::join!(warm, self.measure_until(stop));
    }

    async fn measure_until(self, stop: CancellationToken) {
        let server = |options: &PgConnectOptions| Server {
            options: options.clone(),
            kept: None,
        };
        let mut watch = Watch {
            primary: server(&self.0.primary),
            standby: server(&self.0.standby),
            positions: Positions::default(),
            usage: Usage::new(measured_max(self.0.max_lag)),
            replayed: None,
            reason: None,
            replica: self,
        };
        stop.run_until_cancelled(async {
            loop {
                let found = watch.measure().await;
                watch.record(found);
                let is_unfit = matches!(watch.reason, Some(Reason::Unfit(_)));
                sleep(if is_unfit { EVERY_UNFIT } else { EVERY }).await;
            }
        })
        .await;
    }
}

/// Largest lag of a measurement, so that reads until the next one are within the bound.
fn measured_max(max_lag: Duration) -> Duration {
    max_lag.saturating_sub(2 * (EVERY + RESPONSE_TIMEOUT / 4))
}

impl Watch {
    async fn measure(&mut self) -> Found {
        let at = Instant::now();
        let primary = match self.primary.query().await {
            Ok((primary, _)) if !primary.is_standby => primary,
            _ => {
                self.primary.kept = None;
                return self.measure_without_primary().await;
            }
        };
        // What a standby replays was written by its primary before.
        if self.replayed.is_some_and(|replayed| replayed > primary.lsn) {
            self.replayed = None;
            self.standby.kept = None;
            return Found::Failed(Reason::Unfit(
                "its server has more of the write-ahead log than the primary: it follows another one".to_owned(),
            ));
        }
        let lsn = primary.lsn;
        self.positions.push(Position { at, lsn });
        let (standby, is_new) = match self.standby.query().await {
            Ok(reply) => reply,
            Err(error) => return Found::Failed(Reason::Unavailable(error.to_string())),
        };
        if !standby.is_standby && standby.started != primary.started {
            (self.standby.kept, self.replayed) = (None, None);
            return Found::Failed(Reason::Unfit(
                "its server takes writes and is not the primary: it was promoted".to_owned(),
            ));
        }
        if is_new && let Err(reason) = self.compare().await {
            self.standby.kept = None;
            return Found::Failed(reason);
        }
        self.replayed = standby.is_standby.then_some(standby.lsn);
        Found::Lag {
            lag: self.positions.lag(standby.lsn, Instant::now()),
            is_primary: !standby.is_standby,
        }
    }

    /// Finds out whether the standby has stopped to respond as well.
    async fn measure_without_primary(&mut self) -> Found {
        match self.standby.query().await {
            Ok((_, is_new)) => {
                if is_new {
                    // It cannot be compared now.
                    self.standby.kept = None;
                }
                Found::NoPrimary
            }
            Err(error) => Found::Failed(Reason::Unavailable(error.to_string())),
        }
    }

    /// Rejects another cluster, database or role, on a new connection.
    async fn compare(&mut self) -> Result<(), Reason> {
        let places = async {
            let standby = self.standby.place().await?;
            Ok::<_, Error>((standby, self.primary.place().await?))
        };
        let (standby, primary) = match timeout(CONNECT_TIMEOUT, places).await {
            Ok(Ok(places)) => places,
            Ok(Err(error)) => return Err(Reason::Unavailable(error.to_string())),
            Err(_) => return Err(Reason::Unavailable("it does not respond".to_owned())),
        };
        let faults = standby.replica_faults(&primary);
        if faults.is_empty() {
            return Ok(());
        }
        Err(Reason::Unfit(faults.join("; ")))
    }

    fn record(&mut self, found: Found) {
        let now = Instant::now();
        let (lag, is_primary, failure) = match found {
            Found::NoPrimary => return,
            Found::Lag { lag, is_primary } => (lag, is_primary, None),
            Found::Failed(reason) => (None, false, Some(reason)),
        };
        self.usage.record(lag, now);
        let is_used = self.usage.is_used();
        self.replica.0.breaker.set_unresponsive(failure.is_some());
        let age = measured_max(self.replica.0.max_lag);
        let before = self.replica.0.state.send_replace(State {
            is_used,
            lag,
            is_primary,
            floor: self.positions.floor(age, now),
        });
        if is_primary && !before.is_primary {
            tracing::warn!("{}", crate::pooling::READ_URL_OF_PRIMARY);
        }
        let longest = || self.positions.longest(now);
        let lag = failure.is_none().then(|| lag.unwrap_or_else(longest));
        self.log(
            before.is_used,
            is_used,
            failure.unwrap_or(Reason::Lags),
            lag,
        );
    }

    /// Logs when reads move from one side to the other, and a new reason.
    fn log(&mut self, was_used: bool, is_used: bool, reason: Reason, lag: Option<Duration>) {
        if is_used {
            if !was_used {
                tracing::info!("reading from the replica of DATABASE_READ_URL");
            }
            self.reason = None;
            return;
        }
        // While it is near again, and for a while not read yet.
        let is_near = lag.is_some_and(|lag| lag <= self.replica.0.max_lag);
        if is_near || self.reason.as_ref() == Some(&reason) {
            return;
        }
        match &reason {
            Reason::Lags => {
                let seconds = lag.unwrap_or_default().as_secs();
                tracing::warn!(seconds, "the read replica lags: reading from the primary");
            }
            Reason::Unavailable(error) => {
                tracing::warn!(
                    error,
                    "the read replica is unavailable: reading from the primary"
                );
            }
            Reason::Unfit(fault) => {
                tracing::error!(
                    fault,
                    "the read replica is not fit: reading from the primary"
                );
            }
        }
        self.reason = Some(reason);
    }
}

impl Server {
    /// Queries on the connection that is kept, or else on a new one, also if the other one was closed. Returns whether it is
    /// new.
    async fn query(&mut self) -> Result<(Reply, bool), Error> {
        if let Some(mut connection) = self.kept.take() {
            let reply = timeout(RESPONSE_TIMEOUT, Reply::of(&mut connection)).await;
            match reply.unwrap_or(Err(Error::PoolTimedOut)) {
                Ok(reply) => {
                    self.kept = Some(connection);
                    return Ok((reply, false));
                }
                // It has stopped to respond.
                Err(Error::PoolTimedOut) => return Err(Error::PoolTimedOut),
                Err(_) => {}
            }
        }
        let connected = timeout(CONNECT_TIMEOUT, self.options.connect()).await;
        let mut connection = connected.unwrap_or(Err(Error::PoolTimedOut))?;
        let reply = timeout(RESPONSE_TIMEOUT, Reply::of(&mut connection)).await;
        let reply = reply.unwrap_or(Err(Error::PoolTimedOut))?;
        self.kept = Some(connection);
        Ok((reply, true))
    }

    async fn place(&mut self) -> Result<Place, Error> {
        match &mut self.kept {
            Some(connection) => Place::of(connection).await,
            None => Err(Error::PoolTimedOut),
        }
    }
}

impl Reply {
    /// Unprepared, for poolers that do not follow prepared statements.
    async fn of(connection: &mut PgConnection) -> Result<Self, Error> {
        let sql = format!(
            "SELECT (({POSITION}) - '0/0')::bigint, pg_is_in_recovery(), pg_postmaster_start_time()::text"
        );
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        let row: PgRow = connection.fetch_one(statement).await?;
        let lsn: i64 = row.try_get(0)?;
        Ok(Self {
            lsn: Lsn(u64::try_from(lsn).unwrap_or_default()),
            is_standby: row.try_get(1)?,
            started: row.try_get(2)?,
        })
    }
}
