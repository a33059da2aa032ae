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

use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::attempt_slots::AttemptSlot;
use super::jobs::SendUnlock;
use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::is_known_client;
use crate::config::LockoutSteps;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::infra::{Busy, LimitCheck, LimitKey, before, network_of};
use crate::jobs;
use crate::metrics;
use crate::state::AppState;
use crate::users::{self, EmailAddress};

/// Failure counter of an account, a client, or a pair of both.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) steps: &'a LockoutSteps,
    pub(crate) key: LimitKey,
}

#[derive(Clone, Copy)]
pub(crate) struct CounterState {
    key: LimitKey,
    pub(crate) wait: Option<Duration>,
    /// Failures left before the next wait.
    left: u32,
    /// Whether there is anything to clear.
    is_used: bool,
}

impl Counter<'_> {
    /// Checks of the waits and of the failures; `adds` spends one failure.
    fn checks(self, adds: bool) -> impl Iterator<Item = LimitCheck> {
        let Self { steps, key } = self;
        let failure = if adds {
            LimitCheck::spend
        } else {
            LimitCheck::peek
        };
        let waits = steps
            .waits
            .iter()
            .map(move |wait| LimitCheck::peek(*wait, key));
        waits.chain([failure(steps.failures, key)])
    }
}

/// State of the counters, and whether each of `others` allows, in one round trip.
pub(crate) async fn read_counters(
    state: &AppState,
    counters: &[Counter<'_>],
    others: &[LimitCheck],
) -> (Vec<CounterState>, bool) {
    let lockouts = counters
        .iter()
        .map(|counter| LimitCheck::peek(counter.steps.lockouts, counter.key));
    let checks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.checks(false))
        .chain(lockouts)
        .chain(others.iter().copied())
        .collect();
    let decision = state.limiter.check_resettable(&checks).await;
    let mut limits = decision.states.into_iter();
    let mut states = Vec::with_capacity(counters.len());
    for Counter { steps, key } in counters {
        let of_this = limits.by_ref().take(steps.waits.len() + 1);
        let mut current = CounterState {
            key: *key,
            wait: None,
            left: 0,
            is_used: false,
        };
        for limit in of_this {
            current.wait = current.wait.max(limit.wait);
            current.left = limit.left(); // the failures come last
            current.is_used |= limit.used > 0;
        }
        states.push(current);
    }
    for current in &mut states {
        current.is_used |= limits.next().is_some_and(|lockouts| lockouts.used > 0);
    }
    (states, limits.all(|other| other.wait.is_none()))
}

/// Adds a failure to each counter and returns those that begin a wait by it, with its length; fails where a
/// wait runs already.
async fn add_failure<'a>(
    state: &AppState,
    counters: &[Counter<'a>],
) -> Result<Vec<(&'a LockoutSteps, Duration)>, Error> {
    let checks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.checks(true))
        .collect();
    let decision = state.limiter.check_resettable(&checks).await;
    if let Some(wait) = decision.retry_after() {
        return Err(Error::TooManyAttempts(wait));
    }
    let mut limits = decision.states.into_iter();
    let mut lockouts = Vec::new();
    for counter in counters {
        let failures = limits.nth(counter.steps.waits.len());
        if failures.is_some_and(|failures| failures.left() == 0) {
            lockouts.push((counter.steps, lock_out(state, *counter).await));
        }
    }
    Ok(lockouts)
}

/// Begins the next wait of a counter whose failures are used up, and returns its length. The wait begins
/// before the failures are reset: no attempt passes in between.
async fn lock_out(state: &AppState, Counter { steps, key }: Counter<'_>) -> Duration {
    let counted = state
        .limiter
        .record(&[LimitCheck::spend(steps.lockouts, key)])
        .await;
    let lockouts = counted.states.first().map_or(1, |one| one.used.max(1));
    let step = usize::try_from(lockouts - 1).unwrap_or(usize::MAX);
    let wait = steps.waits[step.min(steps.waits.len() - 1)];
    state.limiter.record(&[LimitCheck::spend(wait, key)]).await;
    state.limiter.reset(&[(steps.failures, key)]).await;
    metrics::count_sign_in_wait(steps.name);
    wait.window()
}

pub(crate) async fn clear(state: &AppState, counters: &[Counter<'_>]) {
    let uses: Vec<_> = counters
        .iter()
        .flat_map(|Counter { steps, key }| {
            let waits = steps.waits.iter().copied();
            let all = waits.chain([steps.failures, steps.lockouts]);
            all.map(|limit| (limit, *key))
        })
        .collect();
    if !uses.is_empty() {
        state.limiter.reset(&uses).await;
    }
}

/// Takes an attempt slot; `None` once another attempt has ended, so that the caller reads the counters again.
async fn wait_for_slot(
    state: &AppState,
    states: &[CounterState],
    until: Instant,
) -> Result<Option<AttemptSlot>, Error> {
    let limits: Vec<_> = states.iter().map(|it| (it.key, it.left)).collect();
    match state.attempt_slots.take(&limits) {
        Ok(slot) => Ok(Some(slot)),
        Err(ended) => match timeout_at(until, ended).await {
            Ok(()) => Ok(None),
            Err(_) => Err(Busy.into()),
        },
    }
}

fn reject_locked_out(states: &[CounterState]) -> Result<(), Error> {
    let wait = states.iter().filter_map(|it| it.wait).max();
    wait.map_or(Ok(()), |wait| Err(Error::TooManyAttempts(wait)))
}

/// A running attempt to sign in.
pub(crate) struct Attempt<'a> {
    ctx: &'a Ctx,
    email: &'a EmailAddress,
    user_id: Option<UserId>,
    client: Counter<'a>,
    pub(crate) account: Counter<'a>,
    pub(crate) known: Counter<'a>,
    network: IpAddr,
    /// Whether failures are not counted by client (`SIGN_IN_LIMIT_EXEMPT`).
    is_exempt: bool,
    has_unlocked: bool,
    slot: Option<AttemptSlot>,
}

impl<'a> Attempt<'a> {
    pub(crate) async fn begin(
        ctx: &'a Ctx,
        email: &'a EmailAddress,
        user_id: Option<UserId>,
    ) -> Result<Self, Error> {
        let mut attempt = Self::of(ctx, email, user_id);
        let until = Instant::now() + ctx.hasher.queue_timeout();
        while attempt.slot.is_none() {
            let states = attempt.load_states().await?;
            reject_locked_out(&states)?;
            attempt.slot = wait_for_slot(ctx, &states, until).await?;
        }
        Ok(attempt)
    }

    pub(crate) fn of(ctx: &'a Ctx, email: &'a EmailAddress, user_id: Option<UserId>) -> Self {
        let ip = ctx.origin().ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let network = network_of(ip);
        let attempts = &ctx.attempts;
        let account = ctx.limiter.hashed_key(email.as_str());
        let both = format!("{} {network}", email.as_str());
        let counter = |steps, key| Counter { steps, key };
        Self {
            ctx,
            email,
            user_id,
            client: counter(&attempts.client, LimitKey::client(network)),
            account: counter(&attempts.account, account),
            known: counter(&attempts.known, ctx.limiter.hashed_key(&both)),
            network,
            is_exempt: ctx.limits.exempt.contains(ip.to_canonical()),
            has_unlocked: false,
            slot: None,
        }
    }

    /// Counters of an attempt from a client that the account does not know.
    fn unknown_client(&self) -> Vec<Counter<'a>> {
        if self.is_exempt {
            vec![self.account]
        } else {
            vec![self.client, self.account]
        }
    }

    /// State of the counters that apply to this attempt. Whether the account knows the client is read from
    /// the database only where one of them has a wait.
    async fn load_states(&mut self) -> Result<Vec<CounterState>, Error> {
        let mut counters = self.unknown_client();
        let unknown = counters.len();
        counters.push(self.known);
        let unlocked = LimitCheck::peek(self.ctx.attempts.unlocked, self.known.key);
        let (mut states, is_unspent) = read_counters(self.ctx, &counters, &[unlocked]).await;
        self.has_unlocked = !is_unspent;
        if states.iter().any(|it| it.wait.is_some()) {
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
        let known_for = self.ctx.attempts.known_for;
        let since = before(self.ctx.now(), known_for);
        let db = &self.ctx.db;
        Ok(is_known_client(db, self.user_id, self.network, since).await?)
    }

    /// Counts a failure; returns the error for the client.
    pub(crate) async fn fail(self) -> Result<Error, Error> {
        let counters = if self.is_known().await? {
            vec![self.known]
        } else {
            self.unknown_client()
        };
        let lockouts = match add_failure(self.ctx, &counters).await {
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
        let detail = json!({ "by": steps.name, "seconds": wait.as_secs() });
        let entry = Event::SignInLocked.about(self.user_id);
        tx.audit(entry.detail(detail)).await?;
        let since = before(ctx.now(), ctx.attempts.unlock_ttl);
        if steps.name != self.client.steps.name
            && !links::is_unlock_recent(&mut *tx, self.user_id, since).await?
        {
            // For an address without an account as well: the job finds nobody to write to.
            let found = users::find_credentials(&mut *tx, self.email).await?;
            let version = found.map(|found| found.version).unwrap_or_default();
            let job = SendUnlock::to(self.email.clone(), version);
            jobs::enqueue_urgent(&mut *tx, &job, Some(&job.key())).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(mut self) -> Result<(), Error> {
        let states = self.load_states().await?;
        reject_locked_out(&states)?;
        let of_account = [self.account, self.known];
        let used = of_account.into_iter().filter(|counter| {
            let mut all = states.iter();
            all.any(|it| it.key == counter.key && it.is_used)
        });
        clear(self.ctx, &used.collect::<Vec<_>>()).await;
        Ok(())
    }
}

/// Clears the owner's failed attempts. In a task of its own: the link is used by now, and a disconnect must
/// not cancel its effect.
pub(crate) async fn clear_failures(
    ctx: &Ctx,
    email: EmailAddress,
    user_id: UserId,
) -> Result<(), Error> {
    let ctx = ctx.clone();
    let unlocking = async move { unlock(&ctx, &email, user_id).await };
    tokio::spawn(unlocking.in_current_span()).await?;
    Ok(())
}

/// Clears the failed attempts of an account, and those of this client at it.
async fn unlock(ctx: &Ctx, email: &EmailAddress, user_id: UserId) {
    let attempt = Attempt::of(ctx, email, Some(user_id));
    let again = ReauthAttempt::of(ctx, user_id);
    clear(ctx, &[attempt.account, attempt.known, again.counter]).await;
    let unlocked = LimitCheck::spend(ctx.attempts.unlocked, attempt.known.key);
    ctx.limiter.record(&[unlocked]).await;
}

/// A running attempt at reauthentication.
pub(crate) struct ReauthAttempt<'a> {
    state: &'a AppState,
    pub(crate) counter: Counter<'a>,
    slot: Option<AttemptSlot>,
}

impl<'a> ReauthAttempt<'a> {
    pub(crate) fn of(state: &'a AppState, user_id: UserId) -> Self {
        let counter = Counter {
            steps: &state.attempts.reauthentication,
            key: LimitKey::user(user_id.0),
        };
        Self {
            state,
            counter,
            slot: None,
        }
    }

    pub(crate) async fn begin(state: &'a AppState, user_id: UserId) -> Result<Self, Error> {
        let mut attempt = Self::of(state, user_id);
        let until = Instant::now() + state.hasher.queue_timeout();
        while attempt.slot.is_none() {
            let (states, _) = read_counters(state, &[attempt.counter], &[]).await;
            reject_locked_out(&states)?;
            attempt.slot = wait_for_slot(state, &states, until).await?;
        }
        Ok(attempt)
    }

    pub(crate) async fn fail(self) -> Result<(), Error> {
        add_failure(self.state, &[self.counter]).await.map(drop)
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(self) -> Result<(), Error> {
        let (states, _) = read_counters(self.state, &[self.counter], &[]).await;
        reject_locked_out(&states)?;
        if states.iter().any(|it| it.is_used) {
            clear(self.state, &[self.counter]).await;
        }
        Ok(())
    }
}
