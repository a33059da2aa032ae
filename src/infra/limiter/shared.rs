//! The counts that all replicas share, in Redis.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;
use redis::{Cmd, ErrorKind, ServerErrorKind};

use super::{Ask, Decision, Key, Standing};
use crate::config::Limit;
use crate::infra::{Redis, RedisError};

const SCRIPT: &str = include_str!("window.lua");

/// The name under which Redis remembers the script.
static SCRIPT_SHA1: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
    let bytes = hash.as_ref().iter();
    bytes.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
});

/// Decides by the script, in one round trip, or in two when Redis has forgotten it.
pub(super) async fn decide(
    redis: &Redis,
    asks: &[Ask],
    now: Option<i64>,
    forced: bool,
) -> Result<Decision, RedisError> {
    let known = command("EVALSHA", &SCRIPT_SHA1, asks, now, forced);
    let reply: Vec<i64> = match redis.ask(&known).await {
        Err(RedisError::Command(error)) if is_unknown_script(&error) => {
            redis
                .ask(&command("EVAL", SCRIPT, asks, now, forced))
                .await?
        }
        answer => answer?,
    };
    Ok(read(asks, &reply))
}

/// Forgets the counts; what cannot be reached forgets by itself in time.
pub(super) async fn forget(redis: &Redis, uses: &[(Limit, Key)]) {
    let mut command = redis::cmd("DEL");
    for (limit, key) in uses {
        command.arg(name(*limit, *key));
    }
    if let Err(error) = redis.ask::<u32>(&command).await {
        tracing::warn!(%error, "a limit could not be forgotten");
    }
}

fn command(verb: &str, script: &str, asks: &[Ask], now: Option<i64>, forced: bool) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(asks.len());
    for ask in asks {
        command.arg(name(ask.limit, ask.key));
    }
    match now {
        Some(now) => command.arg(now),
        None => command.arg(""),
    };
    command.arg(u8::from(forced));
    for ask in asks {
        command
            .arg(ask.limit.max())
            .arg(micros(ask.limit.window()))
            .arg(u8::from(ask.spends));
    }
    command
}

fn name(limit: Limit, key: Key) -> String {
    format!("limit:{}:{key}", limit.name())
}

fn is_unknown_script(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Reads what the script answers.
fn read(asks: &[Ask], reply: &[i64]) -> Decision {
    let rows = reply.get(1..).unwrap_or_default().chunks_exact(3);
    let standings = asks.iter().zip(rows).map(|(ask, row)| Standing {
        limit: ask.limit,
        used: u32::try_from(row[0]).unwrap_or(u32::MAX),
        reset: span(row[1]),
        wait: (row[2] > 0).then(|| span(row[2])),
    });
    Decision {
        standings: standings.collect(),
    }
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

pub(super) fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}
