//! Redis, which may be lost at any time: every command has a deadline, nobody waits for a
//! reconnect, and once it stays silent nobody asks it until it answers again.

mod breaker;

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use self::breaker::Breaker;
use crate::metrics::{self, CallOutcome};

/// What opening a connection may take. No request waits for so long: it goes on in the background.
const CONNECT: Duration = Duration::from_secs(1);

/// What a probe's command may take.
const PING: Duration = Duration::from_millis(100);

/// How often a Redis that fell silent is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// A connection that is shared and mends itself; a clone is another handle on it.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    client: Client,
    connection: RwLock<ConnectionManager>,
    /// What one command may cost a request.
    deadline: Duration,
    breaker: Breaker,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

/// Redis did not answer in time, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// It took longer than a command may take.
    #[error("Redis did not answer in time")]
    Timeout,
    /// It did not answer lately, and is not asked until it does.
    #[error("Redis does not answer")]
    Down,
    /// It is away or refused.
    #[error(transparent)]
    Command(#[from] redis::RedisError),
}

impl Redis {
    /// A connection that is opened when first used; no command costs a request more than
    /// `deadline`.
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

    /// Whether Redis answers. Asks even when requests do not, and takes up to a tenth of a second.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.attempt(&redis::cmd("PING"), PING).await
    }

    /// Opens a connection of its own and sends a command, to find out why none can be had: the shared
    /// one waits between its attempts, for longer than a command may take.
    pub async fn diagnose(&self) -> Result<(), RedisError> {
        self.0.diagnose().await
    }

    /// Whether requests ask it at all.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.0.breaker.is_open()
    }

    /// Opens the connection ahead of the first requests.
    pub async fn warm_up(&self) {
        let _ = self.0.run::<()>(&redis::cmd("PING"), CONNECT).await;
    }

    /// One command, within the deadline. Fails at once while Redis does not answer.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        if self.0.breaker.is_open() {
            return Err(RedisError::Down);
        }
        self.attempt(command, self.0.deadline).await
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, RedisError> {
        let answer = self.0.run(command, within).await;
        if !answer.as_ref().is_err_and(RedisError::is_silence) {
            self.0.breaker.note_answer();
        } else if self.0.breaker.note_failure() {
            tracing::warn!("Redis does not answer: going on without it");
            tokio::spawn(probe(Arc::downgrade(&self.0)));
        }
        answer
    }
}

impl RedisError {
    /// Whether there was no answer, unlike one that refuses.
    fn is_silence(&self) -> bool {
        matches!(
            outcome(Some(self)),
            CallOutcome::Timeout | CallOutcome::Unreachable
        )
    }
}

impl Shared {
    async fn diagnose(&self) -> Result<(), RedisError> {
        let connecting = async {
            let mut connection = self.client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async(&mut connection).await
        };
        let answer = timeout(CONNECT, connecting).await;
        answer
            .map_err(|_| RedisError::Timeout)?
            .map_err(RedisError::from)
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
        let answer = timeout(within, command.query_async(&mut connection));
        let answer = answer.instrument(span.clone()).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(RedisError::from),
            Err(_) => Err(RedisError::Timeout),
        };
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_redis(began, outcome(answer.as_ref().err()));
        answer
    }

    fn connection(&self) -> ConnectionManager {
        let connection = self.connection.read();
        connection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a new connection in the place of one that may be silent for ever: the library mends
    /// one that is cut, but goes on with one whose other end is gone.
    fn reconnect(&self) {
        if let Ok(fresh) = connection(&self.client) {
            let current = self.connection.write();
            *current.unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// Asks until there is an answer in time, or nobody is left who would want to know.
async fn probe(redis: Weak<Shared>) {
    let ping = redis::cmd("PING");
    if let Some(redis) = redis.upgrade()
        && let Err(error) = redis.diagnose().await
    {
        // A wrong password reads as such here, and as a timeout where a request waits.
        tracing::warn!(%error, "why Redis is not used");
    }
    loop {
        let Some(redis) = redis.upgrade() else { return };
        redis.reconnect();
        // The first one opens the connection, the second one tells how fast Redis is.
        let opened = redis.run::<()>(&ping, CONNECT).await;
        if opened.is_ok() && redis.run::<()>(&ping, redis.deadline).await.is_ok() {
            redis.breaker.close();
            tracing::info!("Redis answers again");
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
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(CONNECT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_secs(1));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn outcome(error: Option<&RedisError>) -> CallOutcome {
    match error {
        None => CallOutcome::Ok,
        Some(RedisError::Timeout) => CallOutcome::Timeout,
        Some(RedisError::Down) => CallOutcome::Unreachable,
        Some(RedisError::Command(error)) if error.is_timeout() => CallOutcome::Timeout,
        Some(RedisError::Command(error)) if error.is_io_error() => CallOutcome::Unreachable,
        Some(RedisError::Command(_)) => CallOutcome::Refused,
    }
}
