//! Lockout after failed attempts, with waits that grow.
//!
//! Failures are counted per account, whether or not it exists, and per client. A client that is known to
//! the account (it has signed in before, or has followed the unlock link) is subject to its own failures
//! at this account alone, so that strangers cannot lock an owner out.
//!
//! An attempt takes a slot before its password is hashed: of concurrent attempts no more are hashed than
//! failures are left. It succeeds only if no wait began meanwhile, so that a right guess among too many is
//! rejected like a wrong one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clock::before;
use email_transport::EmailAddress;
use rate_limit::{AttemptSlot, Counter, CounterState, Key, LimitCheck, LockoutSteps, network_of};
use serde_json::json;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::jobs::SendUnlock;
use crate::audit::{Entry, Event};
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::is_known_client;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::metrics;
use crate::state::AppState;
use crate::users;

/// Counter of a client, at every account.
pub(super) fn client_counter(state: &AppState, client: IpAddr) -> Counter<'_> {
    let steps = &state.attempts.client;
    let key = Key::client(client);
    Counter { steps, key }
}

/// Counter of an account, for clients that it does not know.
pub(super) fn account_counter<'a>(state: &'a AppState, email: &EmailAddress) -> Counter<'a> {
    let steps = &state.attempts.account;
    let key = state.limiter.hashed_key(email.as_str());
    Counter { steps, key }
}

/// Counter of a client at an account that knows it.
pub(super) fn known_counter<'a>(
    state: &'a AppState,
    email: &EmailAddress,
    client: IpAddr,
) -> Counter<'a> {
    let steps = &state.attempts.known;
    let both = format!("{} {}", email.as_str(), network_of(client));
    let key = state.limiter.hashed_key(&both);
    Counter { steps, key }
}

/// Counter of reauthentication, by account.
pub(super) fn reauthentication_counter(state: &AppState, user_id: UserId) -> Counter<'_> {
    let steps = &state.attempts.reauthentication;
    let key = Key::user(user_id.0);
    Counter { steps, key }
}

/// Adds a failure to each counter and returns the lockouts that begin by it; fails where one is in effect.
async fn add_failure<'a>(
    state: &AppState,
    counters: &[Counter<'a>],
) -> Result<Vec<(&'a LockoutSteps, Duration)>, Error> {
    let begun = state.limiter.add_failure(counters).await;
    let begun = begun.map_err(Error::TooManyAttempts)?;
    for (steps, _) in &begun {
        metrics::count_sign_in_wait(steps.name);
    }
    Ok(begun)
}

fn lockout_entry(user_id: Option<UserId>, steps: &LockoutSteps, wait: Duration) -> Entry {
    let detail = json!({ "by": steps.name, "seconds": wait.as_secs() });
    Event::SignInLocked.about(user_id).detail(detail)
}

fn reject_locked_out(states: &[CounterState]) -> Result<(), Error> {
    let wait = states.iter().filter_map(|it| it.wait).max();
    wait.map_or(Ok(()), |wait| Err(Error::TooManyAttempts(wait)))
}

/// Takes an attempt slot; `None` once another attempt has ended, so that the caller reads the counters again.
async fn take_slot(
    state: &AppState,
    states: &[CounterState],
    until: Instant,
) -> Result<Option<AttemptSlot>, Error> {
    reject_locked_out(states)?;
    let slot = state.attempt_slots.wait(states, until).await;
    slot.map_err(|_| Error::Occupied)
}

/// A running attempt to sign in.
pub(crate) struct Attempt<'a> {
    ctx: &'a Ctx,
    email: &'a EmailAddress,
    user_id: Option<UserId>,
    client: IpAddr,
    account: Counter<'a>,
    known: Counter<'a>,
    /// Counters if the account does not know the client: failures of clients in `SIGN_IN_LIMIT_EXEMPT` are
    /// not counted by client.
    unknown: Vec<Counter<'a>>,
    has_unlocked: bool,
    slot: Option<AttemptSlot>,
}

impl<'a> Attempt<'a> {
    pub(crate) async fn begin(
        ctx: &'a Ctx,
        email: &'a EmailAddress,
        user_id: Option<UserId>,
    ) -> Result<Self, Error> {
        let client = client_of(ctx);
        let account = account_counter(ctx, email);
        let unknown = if ctx.limits.exempt.contains(client.to_canonical()) {
            vec![account]
        } else {
            vec![client_counter(ctx, client), account]
        };
        let mut attempt = Self {
            ctx,
            email,
            user_id,
            client,
            account,
            known: known_counter(ctx, email, client),
            unknown,
            has_unlocked: false,
            slot: None,
        };
        let until = Instant::now() + ctx.hasher.queue_timeout();
        while attempt.slot.is_none() {
            let states = attempt.load_states().await?;
            attempt.slot = take_slot(ctx, &states, until).await?;
        }
        Ok(attempt)
    }

    /// State of the counters that apply to this attempt. Whether the account knows the client is read from
    /// the database only where one of them has a wait.
    async fn load_states(&mut self) -> Result<Vec<CounterState>, Error> {
        let counters = [self.unknown.as_slice(), &[self.known]].concat();
        let unlocked = LimitCheck::peek(self.ctx.attempts.unlocked, self.known.key);
        let limiter = &self.ctx.limiter;
        let (mut states, is_unspent) = limiter.read_counters(&counters, &[unlocked]).await;
        self.has_unlocked = !is_unspent;
        if states.iter().any(|it| it.wait.is_some()) {
            let unknown = self.unknown.len();
            if self.is_known().await? {
                states.drain(..unknown);
            } else {
                states.truncate(unknown);
            }
        }
        Ok(states)
    }

    async fn is_known(&self) -> Result<bool, Error> {
        if self.has_unlocked {
            return Ok(true);
        }
        let ctx = self.ctx;
        let since = before(ctx.now(), ctx.attempts.known_for);
        Ok(is_known_client(&ctx.db, self.user_id, network_of(self.client), since).await?)
    }

    /// Counts a failure; returns the error for the client.
    pub(crate) async fn fail(self) -> Result<Error, Error> {
        let lockouts = if self.is_known().await? {
            add_failure(self.ctx, &[self.known]).await
        } else {
            add_failure(self.ctx, &self.unknown).await
        };
        let lockouts = match lockouts {
            Ok(lockouts) => lockouts,
            Err(refused) => return Ok(refused),
        };
        let entry = Event::SignInFailed.about(self.user_id);
        self.ctx.audit(entry).await?;
        for (steps, wait) in lockouts {
            self.record_lockout(steps, wait).await?;
        }
        Ok(Error::InvalidCredentials)
    }

    /// Records a lockout, and emails the owner where the account is locked.
    async fn record_lockout(&self, steps: &LockoutSteps, wait: Duration) -> Result<(), Error> {
        let ctx = self.ctx;
        let mut tx = ctx.begin().await?;
        tx.audit(lockout_entry(self.user_id, steps, wait)).await?;
        let since = before(ctx.now(), ctx.attempts.unlock_ttl);
        if steps.name != ctx.attempts.client.name
            && !links::is_unlock_recent(&mut *tx, self.user_id, since).await?
        {
            // For an address without an account as well: the job finds nobody to write to.
            let found = users::find_credentials(&mut *tx, self.email).await?;
            let version = found.map(|found| found.version).unwrap_or_default();
            let job = SendUnlock::to(self.email.clone(), version);
            job_queue::enqueue_urgent(&mut *tx, &job, Some(&job.key())).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(mut self) -> Result<(), Error> {
        let states = self.load_states().await?;
        reject_locked_out(&states)?;
        let is_used = |counter: &Counter<'_>| {
            let mut all = states.iter();
            all.any(|it| it.key == counter.key && it.is_used)
        };
        let used: Vec<_> = [self.account, self.known]
            .into_iter()
            .filter(is_used)
            .collect();
        self.ctx.limiter.clear_counters(&used).await;
        Ok(())
    }
}

fn client_of(ctx: &Ctx) -> IpAddr {
    ctx.origin().ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// Clears the failed attempts of an account, and those of this client at it. In a task of its own: the link is
/// used by now, and a disconnect must not cancel its effect.
pub(crate) async fn clear_failures(
    ctx: &Ctx,
    email: EmailAddress,
    user_id: UserId,
) -> Result<(), Error> {
    let ctx = ctx.clone();
    let clearing = async move {
        let known = known_counter(&ctx, &email, client_of(&ctx));
        let account = account_counter(&ctx, &email);
        let reauthentication = reauthentication_counter(&ctx, user_id);
        let counters = [account, known, reauthentication];
        ctx.limiter.clear_counters(&counters).await;
        let unlocked = LimitCheck::spend(ctx.attempts.unlocked, known.key);
        ctx.limiter.record(&[unlocked]).await;
    };
    tokio::spawn(clearing.in_current_span()).await?;
    Ok(())
}

/// A running attempt at reauthentication.
pub(crate) struct ReauthAttempt<'a> {
    ctx: &'a Ctx,
    user_id: UserId,
    counter: Counter<'a>,
    _slot: AttemptSlot,
}

impl<'a> ReauthAttempt<'a> {
    pub(crate) async fn begin(ctx: &'a Ctx, user_id: UserId) -> Result<Self, Error> {
        let counter = reauthentication_counter(ctx, user_id);
        let until = Instant::now() + ctx.hasher.queue_timeout();
        loop {
            let (states, _) = ctx.limiter.read_counters(&[counter], &[]).await;
            if let Some(slot) = take_slot(ctx, &states, until).await? {
                return Ok(Self {
                    ctx,
                    user_id,
                    counter,
                    _slot: slot,
                });
            }
        }
    }

    pub(crate) async fn fail(self) -> Result<(), Error> {
        let lockouts = add_failure(self.ctx, &[self.counter]).await?;
        self.ctx.audit(Event::ReauthenticationFailed).await?;
        for (steps, wait) in lockouts {
            let entry = lockout_entry(Some(self.user_id), steps, wait);
            self.ctx.audit(entry).await?;
        }
        Ok(())
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(self) -> Result<(), Error> {
        let limiter = &self.ctx.limiter;
        let (states, _) = limiter.read_counters(&[self.counter], &[]).await;
        reject_locked_out(&states)?;
        if states.iter().any(|it| it.is_used) {
            limiter.clear_counters(&[self.counter]).await;
        }
        Ok(())
    }
}
