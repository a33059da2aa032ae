//! Redis with a deadline per command, reconnects in the background, and a circuit breaker.

mod breaker;
mod config;
pub mod metrics;

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use self::breaker::Breaker;
pub use self::config::{RedisConfig, RedisSettings};

/// Connect timeout. Requests do not wait so long: connecting continues in the background.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const PING_TIMEOUT: Duration = Duration::from_millis(100);

/// Interval of probes while the breaker is open.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Multiplexed connection that reconnects; clones share it.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    client: Client,
    connection: RwLock<ConnectionManager>,
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
    /// Connection error, or an error reply.
    #[error(transparent)]
    Command(#[from] redis::RedisError),
}

impl Redis {
    /// Creates a connection that is opened on first use. `deadline` is the time limit of a command.
    pub fn connect_lazy(url: &SecretString, deadline: Duration) -> Result<Self, redis::RedisError> {
        let client = Client::open(url.expose_secret())?;
        let connection = RwLock::new(connection(&client)?);
        Ok(Self(Arc::new(Shared {
            client,
            connection,
            deadline,
            breaker: Breaker::default(),
        })))
    }

    /// Health check, at most 100 ms; also while the breaker is open.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.attempt(&redis::cmd("PING"), PING_TIMEOUT).await
    }

    /// Opens a new connection and pings, to find the cause of a failure: the shared connection hides it, since
    /// its reconnects take longer than a command may.
    pub async fn diagnose(&self) -> Result<(), RedisError> {
        self.0.diagnose().await
    }

    /// Returns whether the circuit breaker is closed.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !self.0.breaker.is_open()
    }

    /// Connects ahead of the first requests.
    pub async fn warm_up(&self) {
        let _ = self.0.run::<()>(&redis::cmd("PING"), CONNECT_TIMEOUT).await;
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
        if !reply.as_ref().is_err_and(RedisError::is_failure) {
            self.0.breaker.record_success();
        } else if self.0.breaker.record_failure() {
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
            Self::Unavailable => false,
            Self::Command(error) => error.is_timeout(),
        }
    }

    /// Returns whether there was no reply, unlike an error reply.
    fn is_failure(&self) -> bool {
        match self {
            Self::Timeout | Self::Unavailable => true,
            Self::Command(error) => error.is_timeout() || error.is_io_error(),
        }
    }
}

impl Shared {
    async fn diagnose(&self) -> Result<(), RedisError> {
        let connecting = async {
            let mut connection = self.client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async(&mut connection).await
        };
        let reply = timeout(CONNECT_TIMEOUT, connecting).await;
        Ok(reply.map_err(|_| RedisError::Timeout)??)
    }

    async fn run<T: FromRedisValue>(
        &self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, RedisError> {
        let mut connection = self.connection();
        let began = Instant::now();
        let span = tracing::info_span!(
            target: "otel",
            "redis",
            otel.name = name_of(command),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            db.system.name = "redis",
        );
        let reply = timeout(within, command.query_async(&mut connection));
        let reply = match reply.instrument(span.clone()).await {
            Ok(reply) => reply.map_err(RedisError::from),
            Err(_) => Err(RedisError::Timeout),
        };
        if reply.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_command(began, &reply);
        reply
    }

    fn connection(&self) -> ConnectionManager {
        let connection = self.connection.read();
        connection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the connection. The library reconnects one that was closed, but keeps one whose peer is
    /// gone.
    fn reconnect(&self) {
        if let Ok(fresh) = connection(&self.client) {
            let current = self.connection.write();
            *current.unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// Probes until Redis responds in time and closes the breaker, or until the last handle is dropped.
async fn probe(redis: Weak<Shared>) {
    let ping = redis::cmd("PING");
    if let Some(redis) = redis.upgrade()
        && let Err(error) = redis.diagnose().await
    {
        // Commands report a wrong password as a timeout; this does not.
        tracing::warn!(%error, "cannot connect to Redis");
    }
    loop {
        let Some(redis) = redis.upgrade() else { return };
        redis.reconnect();
        // The first opens the connection, the second measures.
        let opened = redis.run::<()>(&ping, CONNECT_TIMEOUT).await;
        if opened.is_ok() && redis.run::<()>(&ping, redis.deadline).await.is_ok() {
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

fn connection(client: &Client) -> Result<ConnectionManager, redis::RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_secs(1));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
