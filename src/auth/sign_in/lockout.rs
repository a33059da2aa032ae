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
use crate::config::Ladder;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::infra::{Busy, LimitCheck, LimitKey, before, network_of};
use crate::jobs;
use crate::metrics;
use crate::state::AppState;
use crate::users::{self, EmailAddress};

/// Failure counter of one account, client, or pair of both.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) ladder: &'a Ladder,
    pub(crate) key: LimitKey,
}

#[derive(Clone, Copy)]
pub(crate) struct View {
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
        let Self { ladder, key } = self;
        let failure = if adds {
            LimitCheck::spend
        } else {
            LimitCheck::peek
        };
        let waits = ladder
            .waits
            .iter()
            .map(move |wait| LimitCheck::peek(*wait, key));
        waits.chain([failure(ladder.failures, key)])
    }
}

/// State of the counters, and whether each of `others` allows, in one round trip.
pub(crate) async fn look(
    state: &AppState,
    counters: &[Counter<'_>],
    others: &[LimitCheck],
) -> (Vec<View>, bool) {
    let strikes = counters
        .iter()
        .map(|counter| LimitCheck::peek(counter.ladder.strikes, counter.key));
    let checks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.checks(false))
        .chain(strikes)
        .chain(others.iter().copied())
        .collect();
    let decision = state.limiter.check_resettable(&checks).await;
    let mut states = decision.states.into_iter();
    let mut views = Vec::with_capacity(counters.len());
    for Counter { ladder, key } in counters {
        let of_this = states.by_ref().take(ladder.waits.len() + 1);
        let mut view = View {
            key: *key,
            wait: None,
            left: 0,
            is_used: false,
        };
        for limit in of_this {
            view.wait = view.wait.max(limit.wait);
            view.left = limit.left(); // the failures come last
            view.is_used |= limit.used > 0;
        }
        views.push(view);
    }
    for view in &mut views {
        view.is_used |= states.next().is_some_and(|strikes| strikes.used > 0);
    }
    (views, states.all(|other| other.wait.is_none()))
}

/// Adds a failure to each counter and returns those that begin a wait by it, with its length; fails where a
/// wait runs already.
async fn add_failure<'a>(
    state: &AppState,
    counters: &[Counter<'a>],
) -> Result<Vec<(&'a Ladder, Duration)>, Error> {
    let checks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.checks(true))
        .collect();
    let decision = state.limiter.check_resettable(&checks).await;
    if let Some(wait) = decision.retry_after() {
        return Err(Error::TooManyAttempts(wait));
    }
    let mut states = decision.states.into_iter();
    let mut struck = Vec::new();
    for counter in counters {
        let failures = states.nth(counter.ladder.waits.len());
        if failures.is_some_and(|failures| failures.left() == 0) {
            struck.push((counter.ladder, strike(state, *counter).await));
        }
    }
    Ok(struck)
}

/// Begins the next wait of a counter whose failures are used up, and returns its length. The wait begins
/// before the failures are reset: no attempt passes in between.
async fn strike(state: &AppState, Counter { ladder, key }: Counter<'_>) -> Duration {
    let counted = state
        .limiter
        .record(&[LimitCheck::spend(ladder.strikes, key)])
        .await;
    let strikes = counted.states.first().map_or(1, |one| one.used.max(1));
    let rung = usize::try_from(strikes - 1).unwrap_or(usize::MAX);
    let wait = ladder.waits[rung.min(ladder.waits.len() - 1)];
    state.limiter.record(&[LimitCheck::spend(wait, key)]).await;
    state.limiter.reset(&[(ladder.failures, key)]).await;
    metrics::count_sign_in_wait(ladder.name);
    wait.window()
}

pub(crate) async fn clear(state: &AppState, counters: &[Counter<'_>]) {
    let uses: Vec<_> = counters
        .iter()
        .flat_map(|Counter { ladder, key }| {
            let waits = ladder.waits.iter().copied();
            let all = waits.chain([ladder.failures, ladder.strikes]);
            all.map(|limit| (limit, *key))
        })
        .collect();
    if !uses.is_empty() {
        state.limiter.reset(&uses).await;
    }
}

/// Takes an attempt slot; `None` once another attempt has ended, so that the caller looks again.
async fn wait_for_slot(
    state: &AppState,
    views: &[View],
    until: Instant,
) -> Result<Option<AttemptSlot>, Error> {
    let rooms: Vec<_> = views.iter().map(|view| (view.key, view.left)).collect();
    match state.attempt_slots.take(&rooms) {
        Ok(slot) => Ok(Some(slot)),
        Err(ended) => match timeout_at(until, ended).await {
            Ok(()) => Ok(None),
            Err(_) => Err(Busy.into()),
        },
    }
}

fn refuse(views: &[View]) -> Result<(), Error> {
    let wait = views.iter().filter_map(|view| view.wait).max();
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
            let views = attempt.judges().await?;
            refuse(&views)?;
            attempt.slot = wait_for_slot(ctx, &views, until).await?;
        }
        Ok(attempt)
    }

    pub(crate) fn of(ctx: &'a Ctx, email: &'a EmailAddress, user_id: Option<UserId>) -> Self {
        let ip = ctx.origin().ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let network = network_of(ip);
        let attempts = &ctx.attempts;
        let account = ctx.limiter.hashed_key(email.as_str());
        let both = format!("{} {network}", email.as_str());
        let counter = |ladder, key| Counter { ladder, key };
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

    /// State of the counters that decide about this attempt. The database is asked which they are only
    /// where one of them has a wait.
    async fn judges(&mut self) -> Result<Vec<View>, Error> {
        let mut counters = self.unknown_client();
        let unknown = counters.len();
        counters.push(self.known);
        let unlocked = LimitCheck::peek(self.ctx.attempts.unlocked, self.known.key);
        let (mut views, is_unspent) = look(self.ctx, &counters, &[unlocked]).await;
        self.has_unlocked = !is_unspent;
        if views.iter().any(|view| view.wait.is_some()) {
            if self.is_known().await? {
                views.drain(..unknown);
            } else {
                views.truncate(unknown);
            }
        }
        Ok(views)
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
        let struck = match add_failure(self.ctx, &counters).await {
            Ok(struck) => struck,
            Err(refused) => return Ok(refused),
        };
        let entry = Event::SignInFailed.about(self.user_id);
        self.ctx.audit(entry).await?;
        for (ladder, wait) in struck {
            self.tell(ladder, wait).await?;
        }
        Ok(Error::InvalidCredentials)
    }

    /// Records a lockout, and emails the owner where the account is locked.
    async fn tell(&self, ladder: &Ladder, wait: Duration) -> Result<(), Error> {
        let ctx = self.ctx;
        let mut tx = ctx.begin().await?;
        let detail = json!({ "by": ladder.name, "seconds": wait.as_secs() });
        let entry = Event::SignInLocked.about(self.user_id);
        tx.audit(entry.detail(detail)).await?;
        let since = before(ctx.now(), ctx.attempts.unlock_ttl);
        if ladder.name != self.client.ladder.name
            && !links::is_unlock_recent(&mut *tx, self.user_id, since).await?
        {
            // For an address without an account as well: the job finds nobody to write to.
            let version = users::find_credentials_version(&mut *tx, self.email).await?;
            let job = SendUnlock::to(self.email.clone(), version);
            jobs::enqueue_urgent(&mut *tx, &job, Some(&job.key())).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(mut self) -> Result<(), Error> {
        let views = self.judges().await?;
        refuse(&views)?;
        let of_account = [self.account, self.known];
        let used = of_account.into_iter().filter(|counter| {
            let mut all = views.iter();
            all.any(|view| view.key == counter.key && view.is_used)
        });
        clear(self.ctx, &used.collect::<Vec<_>>()).await;
        Ok(())
    }
}

/// Clears the owner's failed attempts. In a task of its own: the link is used up by now, and
/// a client that hangs up must not lose what it stood for.
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
            ladder: &state.attempts.reauthentication,
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
            let (views, _) = look(state, &[attempt.counter], &[]).await;
            refuse(&views)?;
            attempt.slot = wait_for_slot(state, &views, until).await?;
        }
        Ok(attempt)
    }

    pub(crate) async fn fail(self) -> Result<(), Error> {
        add_failure(self.state, &[self.counter]).await.map(drop)
    }

    /// Clears the failures before it, unless a wait began meanwhile.
    pub(crate) async fn succeed(self) -> Result<(), Error> {
        let (views, _) = look(self.state, &[self.counter], &[]).await;
        refuse(&views)?;
        if views.iter().any(|view| view.is_used) {
            clear(self.state, &[self.counter]).await;
        }
        Ok(())
    }
}
