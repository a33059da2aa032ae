//! Redis, which may be lost at any time: every command has a deadline, and nobody waits for a
//! reconnect.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::metrics::{self, CallOutcome};

/// What one command may cost a request, reconnecting included.
const DEADLINE: Duration = Duration::from_millis(100);

/// So many commands in a row without an answer, and the connection is taken for dead. The library
/// mends one that is cut, but goes on with one that is silent.
const SILENT_AFTER: u32 = 3;

/// A connection that is shared and mends itself; a clone is another handle on it.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    client: Client,
    connection: RwLock<ConnectionManager>,
    unanswered: AtomicU32,
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
    /// It is away or refused.
    #[error(transparent)]
    Command(#[from] redis::RedisError),
}

impl Redis {
    /// A connection that is opened when first used.
    pub fn connect_lazy(url: &SecretString) -> Result<Self, redis::RedisError> {
        let client = Client::open(url.expose_secret())?;
        let connection = RwLock::new(connection(&client)?);
        Ok(Self(Arc::new(Shared {
            client,
            connection,
            unanswered: AtomicU32::new(0),
        })))
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.ask(&redis::cmd("PING")).await
    }

    /// One command, within the deadline.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection();
        let began = Instant::now();
        let answer = tokio::time::timeout(DEADLINE, command.query_async(&mut connection)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(RedisError::from),
            Err(_) => Err(RedisError::Timeout),
        };
        let outcome = outcome(answer.as_ref().err());
        metrics::observe_redis(began, outcome);
        self.notice(outcome);
        answer
    }

    fn connection(&self) -> ConnectionManager {
        let connection = self.0.connection.read();
        connection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notice(&self, outcome: CallOutcome) {
        if outcome != CallOutcome::Timeout {
            self.0.unanswered.store(0, Ordering::Relaxed);
            return;
        }
        let unanswered = self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        if unanswered.is_multiple_of(SILENT_AFTER)
            && let Ok(fresh) = connection(&self.0.client)
        {
            let current = self.0.connection.write();
            *current.unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

fn connection(client: &Client) -> Result<ConnectionManager, redis::RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_secs(1));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn outcome(error: Option<&RedisError>) -> CallOutcome {
    match error {
        None => CallOutcome::Ok,
        Some(RedisError::Timeout) => CallOutcome::Timeout,
        Some(RedisError::Command(error)) if error.is_timeout() => CallOutcome::Timeout,
        Some(RedisError::Command(error)) if error.is_io_error() => CallOutcome::Unreachable,
        Some(RedisError::Command(_)) => CallOutcome::Refused,
    }
}
