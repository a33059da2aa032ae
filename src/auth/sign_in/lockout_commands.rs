//! Lockouts after too many failed attempts to sign in, for the CLI: list and clear.
//!
//! Rate limit keys of accounts are hashes, so a lockout is found by its audit entry and confirmed by the
//! limiter, which also shows whether it ended early.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{after, before};
use email_transport::EmailAddress;
use http_toolkit::{PageSize, Timestamp};
use rate_limit::{Counter, network_of};
use serde_json::json;

use super::lockout::{account_counter, client_counter, known_counter, reauthentication_counter};
use crate::audit::{self, Event, Record, RecordFilter};
use crate::auth::CommandError;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users;

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockedOut {
    /// A client, at every account; an IPv6 client is its /64.
    Client(IpAddr),
    /// An account, for clients that have not signed in to it before.
    Account(EmailAddress),
    /// An account, for this client that has.
    KnownClient(EmailAddress, IpAddr),
    /// Reauthentication of an account.
    Reauthentication(UserId, EmailAddress),
}

impl LockedOut {
    fn counter<'a>(&self, state: &'a AppState) -> Counter<'a> {
        match self {
            Self::Client(client) => client_counter(state, *client),
            Self::Account(email) => account_counter(state, email),
            Self::KnownClient(email, client) => known_counter(state, email, *client),
            Self::Reauthentication(id, _) => reauthentication_counter(state, *id),
        }
    }
}

impl fmt::Display for LockedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client}"),
            Self::Account(email) => write!(f, "account {}", email.as_str()),
            Self::KnownClient(email, client) => {
                write!(f, "account {} from client {client}", email.as_str())
            }
            Self::Reauthentication(_, email) => {
                write!(f, "account {} at reauthentication", email.as_str())
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
        let counter = who.counter(state);
        let (states, _) = state.limiter.read_counters(&[counter], &[]).await;
        let until = match states.first().and_then(|it| it.wait) {
            Some(wait) => after(now, wait),
            None if state.limiter.is_shared() => continue,
            None => {
                let seconds = entry.detail["seconds"].as_u64().unwrap_or_default();
                after(entry.created_at, Duration::from_secs(seconds))
            }
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
    let known = |client| known_counter(state, email, client);
    let mut counters: Vec<_> = clients.into_iter().map(known).collect();
    counters.push(account_counter(state, email));
    counters.push(reauthentication_counter(state, id));
    clear_all(&Ctx::system(state), Some(id), "account", &counters).await
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
    let Some(redis) = &ctx.redis else {
        return Err(CommandError::CountedPerProcess.into());
    };
    redis.warm_up().await;
    if ctx.limiter.probe().await.is_err() {
        return Err(CommandError::CountedPerProcess.into());
    }
    let detail = json!({ "by": by, "at": "command_line" });
    let mut tx = ctx.begin().await?;
    tx.audit(Event::SignInUnlocked.about(user_id).detail(detail))
        .await?;
    ctx.limiter.clear_counters(counters).await;
    let (states, _) = ctx.limiter.read_counters(counters, &[]).await;
    if !ctx.limiter.is_shared() || states.iter().any(|it| it.wait.is_some()) {
        return Err(CommandError::CountedPerProcess.into());
    }
    tx.commit().await?;
    Ok(())
}

/// Entries about lockouts that may still be in effect, of one account or of all.
async fn recent_entries(state: &AppState, user: Option<UserId>) -> Result<Vec<Record>, Failure> {
    let attempts = &state.attempts;
    let steps = [
        &attempts.client,
        &attempts.account,
        &attempts.known,
        &attempts.reauthentication,
    ];
    let waits = steps.iter().flat_map(|steps| &steps.waits);
    let longest = waits.map(|wait| wait.window()).max().unwrap_or_default();
    let since = before(state.clock.now(), longest);
    let filter = RecordFilter {
        event: Some(Event::SignInLocked),
        user_id: user,
        from: Some(Timestamp::try_from(since.to_rfc3339())?),
        ..RecordFilter::default()
    };
    let page = PageSize::try_from(100)?;
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let mut found = audit::list_records(&mut *tx, &filter, after, page).await?;
        tx.commit().await?;
        let is_last = found.len() <= page.get();
        found.truncate(page.get());
        after = found.last().map(Record::moment);
        entries.append(&mut found);
        if is_last {
            return Ok(entries);
        }
    }
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
    let Some(account) = users::find_own_credentials(&state.db, id).await? else {
        return Ok(None);
    };
    let email = account.email;
    Ok(if by == state.attempts.known.name {
        client.map(|client| LockedOut::KnownClient(email, client))
    } else if by == state.attempts.reauthentication.name {
        Some(LockedOut::Reauthentication(id, email))
    } else {
        Some(LockedOut::Account(email))
    })
}
