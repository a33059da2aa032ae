//! Lockouts after too many failed attempts to sign in, for the CLI: list and clear.
//!
//! Rate limit keys of accounts are hashes, so a lockout is found by its audit entry and confirmed by the
//! limiter, which also shows whether it ended early.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::lockout::{Attempt, Counter, ReauthAttempt, clear, read_counters};
use crate::audit::{self, Event, Record, RecordFilter};
use crate::auth::CommandError;
use crate::config::LockoutSteps;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::infra::{LimitKey, after, before, network_of};
use crate::state::AppState;
use crate::users::{self, EmailAddress};
use crate::web::Limit;

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockedOut {
    /// A client, at every account; an IPv6 client is its /64.
    Client(IpAddr),
    /// An account, for clients that have not signed in to it before.
    Account(EmailAddress),
    /// An account, for this client that has.
    KnownClient(EmailAddress, IpAddr),
}

impl fmt::Display for LockedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client}"),
            Self::Account(email) => write!(f, "account {}", email.as_str()),
            Self::KnownClient(email, client) => {
                write!(f, "account {} from client {client}", email.as_str())
            }
        }
    }
}

/// A lockout that is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    pub who: LockedOut,
    pub until: DateTime<Utc>,
}

/// Lockouts in effect, the newest first.
///
/// Without Redis each process counts by itself: the times are then those of the audit log, also of
/// lockouts that have ended early.
pub async fn list_lockouts(state: &AppState) -> Result<Vec<Lockout>, Failure> {
    let now = state.clock.now();
    let mut seen = HashSet::new();
    let mut lockouts = Vec::new();
    for entry in recent_entries(state, None).await? {
        let Some(who) = subject(state, &entry).await? else {
            continue;
        };
        if !seen.insert(who.clone()) {
            continue;
        }
        let until = match limiter_wait(state, &who).await {
            Some(wait) => after(now, wait),
            None if state.limiter.is_shared() => continue,
            None => after(entry.created_at, recorded_wait(&entry)),
        };
        if until > now {
            lockouts.push(Lockout { who, until });
        }
    }
    Ok(lockouts)
}

/// Clears the lockouts and failed attempts of an account, also those of its known clients and of
/// reauthentication.
pub async fn clear_account_lockout(state: &AppState, email: &EmailAddress) -> Result<(), Failure> {
    let found = users::find_credentials(&state.db, email).await?;
    let id = found.ok_or(CommandError::NoAccount)?.user_id;
    let entries = recent_entries(state, Some(id)).await?;
    let clients: HashSet<_> = entries.iter().filter_map(|entry| entry.ip).collect();
    let contexts = clients.into_iter();
    let contexts: Vec<_> = contexts.map(|ip| Ctx::about_client(state, ip)).collect();
    let ctx = Ctx::system(state);
    let mut counters = vec![
        ReauthAttempt::of(state, id).counter,
        Attempt::of(&ctx, email, Some(id)).account,
    ];
    let known = |ctx| Attempt::of(ctx, email, Some(id)).known;
    counters.extend(contexts.iter().map(known));
    clear_all(&ctx, Some(id), "account", &counters).await
}

/// Clears the lockout and failed attempts of a client.
pub async fn clear_client_lockout(state: &AppState, client: IpAddr) -> Result<(), Failure> {
    let counter = client_counter(state, client);
    // The address is in the entry's column, which the retention of addresses covers.
    let ctx = Ctx::about_client(state, network_of(client));
    clear_all(&ctx, None, "client", &[counter]).await
}

async fn clear_all(
    ctx: &Ctx,
    user_id: Option<UserId>,
    by: &str,
    counters: &[Counter<'_>],
) -> Result<(), Failure> {
    if ctx.redis.is_none() || ctx.limiter.probe().await.is_err() {
        return Err(CommandError::CountedPerProcess.into());
    }
    let detail = json!({ "by": by, "at": "command_line" });
    let mut tx = ctx.begin().await?;
    tx.audit(Event::SignInUnlocked.about(user_id).detail(detail))
        .await?;
    clear(ctx, counters).await;
    let (states, _) = read_counters(ctx, counters, &[]).await;
    if !ctx.limiter.is_shared() || states.iter().any(|it| it.wait.is_some()) {
        return Err(CommandError::CountedPerProcess.into());
    }
    tx.commit().await?;
    Ok(())
}

/// Entries about lockouts that may still be in effect, of one account or of all.
async fn recent_entries(state: &AppState, user: Option<UserId>) -> Result<Vec<Record>, Failure> {
    let since = before(state.clock.now(), longest_wait(state));
    let filter = RecordFilter {
        event: Some(Event::SignInLocked),
        user_id: user,
        ..RecordFilter::default()
    };
    let page = Limit::try_from(100)?;
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let found = audit::list_records(&state.db, &filter, after, page).await?;
        let is_last = found.len() <= page.get();
        for entry in found.into_iter().take(page.get()) {
            if entry.created_at < since {
                return Ok(entries);
            }
            after = Some(entry.moment());
            entries.push(entry);
        }
        if is_last {
            return Ok(entries);
        }
    }
}

fn longest_wait(state: &AppState) -> Duration {
    let all_steps = [
        &state.attempts.client,
        &state.attempts.account,
        &state.attempts.known,
    ];
    let waits = all_steps.into_iter().flat_map(|steps| &steps.waits);
    waits.map(|wait| wait.window()).max().unwrap_or_default()
}

/// `None` for an address without an account, or where retention has removed the client's address.
async fn subject(state: &AppState, entry: &Record) -> Result<Option<LockedOut>, Failure> {
    let by = entry.detail["by"].as_str().unwrap_or_default();
    let client = entry.ip.map(network_of);
    if by == state.attempts.client.name {
        return Ok(client.map(LockedOut::Client));
    }
    let Some(id) = entry.user_id else {
        return Ok(None);
    };
    let account = users::find_own_credentials(&state.db, id).await?;
    let email = account.map(|account| account.email);
    Ok(if by == state.attempts.known.name {
        let both = email.zip(client);
        both.map(|(email, client)| LockedOut::KnownClient(email, client))
    } else {
        email.map(LockedOut::Account)
    })
}

async fn limiter_wait(state: &AppState, who: &LockedOut) -> Option<Duration> {
    let counter_wait = async |counter: Counter<'_>| {
        let (states, _) = read_counters(state, &[counter], &[]).await;
        states.first().and_then(|it| it.wait)
    };
    match who {
        LockedOut::Client(client) => counter_wait(client_counter(state, *client)).await,
        LockedOut::Account(email) => {
            let ctx = Ctx::system(state);
            counter_wait(Attempt::of(&ctx, email, None).account).await
        }
        LockedOut::KnownClient(email, client) => {
            let ctx = Ctx::about_client(state, *client);
            counter_wait(Attempt::of(&ctx, email, None).known).await
        }
    }
}

fn recorded_wait(entry: &Record) -> Duration {
    Duration::from_secs(entry.detail["seconds"].as_u64().unwrap_or_default())
}

fn client_counter(state: &AppState, client: IpAddr) -> Counter<'_> {
    let steps: &LockoutSteps = &state.attempts.client;
    let key = LimitKey::client(client);
    Counter { steps, key }
}
