//! Redis with a deadline per command, reconnects in the background, and a circuit breaker.

mod breaker;
mod config;
pub mod metrics;
mod servers;

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use self::breaker::Breaker;
pub use self::config::{NodeAddress, RedisConfig, RedisMode, RedisSettings};
pub use self::servers::Servers;
use self::servers::{Connection, Open, Target};

/// Connect timeout. Requests do not wait so long: connecting continues in the background.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// For a new connection where several servers may have to be asked.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

const PING_TIMEOUT: Duration = Duration::from_millis(100);

/// Interval of probes while the breaker is open.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Keys that a probe deletes. They do not exist.
const PROBE_KEYS: u32 = 16;

/// Multiplexed connection that reconnects; clones share it.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    target: Box<dyn Open>,
    /// `None` until a cluster or Sentinels have responded.
    connection: RwLock<Option<Connection>>,
    opening: Mutex<()>,
    deadline: Duration,
    breaker: Breaker,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

/// Failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The deadline passed.
    #[error("Redis did not respond in time")]
    Timeout,
    /// The circuit breaker is open.
    #[error("Redis does not respond")]
    Unavailable,
    /// The server is run in another mode than the settings say.
    #[error("{0}")]
    Mode(&'static str),
    /// Connection error, or an error reply.
    #[error(transparent)]
    Command(#[from] redis::RedisError),
}

impl Redis {
    /// Creates a connection to one server that is opened on first use. `deadline` is the time limit of a command.
    pub fn connect_lazy(url: &SecretString, deadline: Duration) -> Result<Self, redis::RedisError> {
        Self::connect_lazy_to(&Servers::Single(url.clone()), deadline)
    }

    /// As [`connect_lazy`](Self::connect_lazy), to these servers.
    pub fn connect_lazy_to(
        servers: &Servers,
        deadline: Duration,
    ) -> Result<Self, redis::RedisError> {
        let target = Box::new(Target::new(servers)?);
        let connection = RwLock::new(target.open_lazy()?);
        Ok(Self(Arc::new(Shared {
            target,
            connection,
            opening: Mutex::default(),
            deadline,
            breaker: Breaker::default(),
        })))
    }

    /// Returns whether a command may name keys of one hash slot alone.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.0.target.is_cluster()
    }

    /// Health check, at most 100 ms; also while the breaker is open.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.attempt(&redis::cmd("PING"), PING_TIMEOUT).await
    }

    /// Opens a new connection, pings and compares the mode of the servers with the settings, to find the cause of a failure:
    /// the shared connection hides it, since its reconnects take longer than a command may.
    pub async fn diagnose(&self) -> Result<(), RedisError> {
        Box::pin(self.0.diagnose()).await
    }

    /// Returns whether the circuit breaker is closed.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !self.0.breaker.is_open()
    }

    /// Connects ahead of the first requests, and logs an error if the servers are run in another mode than the settings say.
    pub async fn warm_up(&self) {
        let _ = self.0.run::<()>(&redis::cmd("PING"), OPEN_TIMEOUT).await;
        let checked = timeout(OPEN_TIMEOUT, self.0.target.check_mode()).await;
        if let Ok(Err(error @ RedisError::Mode(_))) = checked {
            tracing::error!(%error, "Redis cannot be used");
        }
    }

    /// Runs one command within the deadline. Fails at once while the breaker is open.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        if self.0.breaker.is_open() {
            return Err(RedisError::Unavailable);
        }
        self.attempt(command, self.0.deadline).await
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, RedisError> {
        let reply = self.0.run(command, within).await;
        let opens = match &reply {
            // Reads succeed at a demoted server, so that its failures would never be three in a row.
            Err(error) if error.is_demotion() => self.0.breaker.open(),
            Err(error) if error.is_failure() => self.0.breaker.record_failure(),
            _ => {
                self.0.breaker.record_success();
                false
            }
        };
        if opens {
            tracing::warn!("Redis does not respond: continuing without it");
            tokio::spawn(probe(Arc::downgrade(&self.0)));
        }
        reply
    }
}

impl RedisError {
    fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Unavailable | Self::Mode(_) => false,
            Self::Command(error) => error.is_timeout(),
        }
    }

    /// Returns whether the server is no primary any more.
    fn is_demotion(&self) -> bool {
        matches!(self, Self::Command(error) if matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        ))
    }

    /// Returns whether there was no reply, or one of a server that cannot serve now: a new connection may lead to one that
    /// can. Other error replies are none.
    fn is_failure(&self) -> bool {
        match self {
            Self::Timeout | Self::Unavailable => true,
            Self::Mode(_) => false,
            Self::Command(error) => matches!(
                error.kind(),
                ErrorKind::Io
                    | ErrorKind::ClusterConnectionNotFound
                    | ErrorKind::MasterNameNotFoundBySentinel
                    | ErrorKind::Server(
                        ServerErrorKind::ReadOnly
                            | ServerErrorKind::ClusterDown
                            | ServerErrorKind::MasterDown
                            | ServerErrorKind::BusyLoading
                    )
            ),
        }
    }
}

impl Shared {
    async fn diagnose(&self) -> Result<(), RedisError> {
        let connecting = async {
            self.target.check_mode().await?;
            let opened = self.target.open().await?;
            let connection = opened.ok_or(RedisError::Unavailable)?;
            connection.query::<()>(&redis::cmd("PING")).await?;
            if self.connection().is_none() {
                self.set(connection);
            }
            Ok(())
        };
        let reply = timeout(OPEN_TIMEOUT, connecting).await;
        reply.map_err(|_| RedisError::Timeout)?
    }

    async fn run<T: FromRedisValue>(
        self: &Arc<Self>,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, RedisError> {
        let began = Instant::now();
        let span = tracing::info_span!(
            target: "otel",
            "redis",
            otel.name = name_of(command),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            db.system.name = "redis",
        );
        let reply = timeout(within, async {
            let connection = match self.connection() {
                Some(connection) => connection,
                // Boxed: rare, and large.
                None => Box::pin(self.opened()).await?,
            };
            Ok(connection.query(command).await?)
        });
        let reply = reply.instrument(span.clone()).await;
        let reply = reply.unwrap_or(Err(RedisError::Timeout));
        if reply.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_command(began, &reply);
        reply
    }

    fn connection(&self) -> Option<Connection> {
        let connection = self.connection.read();
        connection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the first connection, in a task of its own: the deadline of a command does not cancel it, and a later command
    /// finds the connection open.
    async fn opened(self: &Arc<Self>) -> Result<Connection, RedisError> {
        let shared = Arc::clone(self);
        let opening = tokio::spawn(async move {
            let opened = timeout(OPEN_TIMEOUT, shared.open_first()).await;
            opened.unwrap_or(Err(RedisError::Timeout))
        });
        opening.await.unwrap_or(Err(RedisError::Unavailable))
    }

    async fn open_first(&self) -> Result<Connection, RedisError> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(connection) = self.connection() {
            return Ok(connection);
        }
        let opened = self.target.open().await?;
        let connection = opened.ok_or(RedisError::Unavailable)?;
        self.set(connection.clone());
        Ok(connection)
    }

    /// Replaces the connection. The library reconnects one that was closed, but keeps one whose peer is
    /// gone, or whose peer is no primary any more.
    async fn reconnect(&self) {
        if let Ok(Ok(Some(fresh))) = timeout(OPEN_TIMEOUT, self.target.open()).await {
            self.set(fresh);
        }
    }

    fn set(&self, connection: Connection) {
        let current = self.connection.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// Probes until Redis responds in time and closes the breaker, or until the last handle is dropped.
async fn probe(redis: Weak<Shared>) {
    let ping = redis::cmd("PING");
    // A replica responds to pings, but refuses this. In a cluster the keys are on all nodes.
    let mut write = redis::cmd("DEL");
    for number in 0..PROBE_KEYS {
        write.arg(format!("redis:probe:{number}"));
    }
    if let Some(redis) = redis.upgrade()
        && let Err(error) = redis.diagnose().await
    {
        // Commands report a wrong password as a timeout; this does not.
        tracing::warn!(%error, "cannot connect to Redis");
    }
    loop {
        let Some(redis) = redis.upgrade() else { return };
        redis.reconnect().await;
        // The first opens the connection, the second measures.
        let opened = redis.run::<()>(&ping, CONNECT_TIMEOUT).await;
        let is_fit = opened.is_ok() && {
            let written = redis.run::<()>(&write, redis.deadline).await;
            !written.is_err_and(|error| error.is_failure())
        };
        if is_fit {
            redis.breaker.close();
            tracing::info!("Redis responds again");
            return;
        }
        drop(redis);
        sleep(PROBE_EVERY).await;
    }
}

/// Name of a command, without its keys and values.
fn name_of(command: &Cmd) -> &str {
    match command.args_iter().next() {
        Some(redis::Arg::Simple(name)) => str::from_utf8(name).unwrap_or_default(),
        _ => "",
    }
}
