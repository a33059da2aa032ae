//! How often anybody may try a password.
//!
//! Failures are counted by account, whether or not there is one, and by client. Who has used up
//! either waits, longer each time. So that strangers cannot shut an owner out, a client that is
//! known to the account (it has signed in to it before, or has followed the link in a letter) is
//! judged by its own failures at this account alone.
//!
//! An attempt takes part in the counting before its password is hashed, so that however many come
//! at once, no more are hashed than are left; and its verdict is given after it is counted, so that
//! a right guess among too many is refused like a wrong one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::error::Error;
use super::jobs::SendUnlock;
use super::store;
use crate::audit::{self, Entry, Event, Origin};
use crate::config::Ladder;
use crate::ids::UserId;
use crate::infra::{Ask, Busy, LimitKey, Turn, before, begin, network_of};
use crate::jobs;
use crate::metrics;
use crate::state::AppState;
use crate::users::{self, EmailAddress};

/// Where the failures of one subject are counted.
#[derive(Clone, Copy)]
struct Counter<'a> {
    ladder: &'a Ladder,
    key: LimitKey,
}

/// How a counter stands.
#[derive(Clone, Copy)]
struct View {
    key: LimitKey,
    /// The wait, if there is one.
    wait: Option<Duration>,
    /// Failures that are left until then.
    left: u32,
    /// Whether there is anything to forget.
    is_used: bool,
}

impl Counter<'_> {
    /// The waits and the failures, to look at or to add one to.
    fn asks(self, adds: bool) -> impl Iterator<Item = Ask> {
        let Self { ladder, key } = self;
        let failure = if adds { Ask::spend } else { Ask::peek };
        let waits = ladder.waits.iter().map(move |wait| Ask::peek(*wait, key));
        waits.chain([failure(ladder.failures, key)])
    }
}

/// How these counters stand, and whether each of `others` allows, in one round trip.
async fn look(state: &AppState, counters: &[Counter<'_>], others: &[Ask]) -> (Vec<View>, bool) {
    let strikes = counters
        .iter()
        .map(|counter| Ask::peek(counter.ladder.strikes, counter.key));
    let asks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.asks(false))
        .chain(strikes)
        .chain(others.iter().copied())
        .collect();
    let decision = state.limiter.check(&asks).await;
    let mut standings = decision.standings.into_iter();
    let mut views = Vec::with_capacity(counters.len());
    for Counter { ladder, key } in counters {
        let of_this = standings.by_ref().take(ladder.waits.len() + 1);
        let mut view = View {
            key: *key,
            wait: None,
            left: 0,
            is_used: false,
        };
        for standing in of_this {
            view.wait = view.wait.max(standing.wait);
            view.left = standing.left(); // the failures come last
            view.is_used |= standing.used > 0;
        }
        views.push(view);
    }
    for view in &mut views {
        view.is_used |= standings.next().is_some_and(|strikes| strikes.used > 0);
    }
    (views, standings.all(|other| other.wait.is_none()))
}

/// Counts a failure with each of these, and what it came to: the wait if there was one already, else
/// the counters whose next failure has to wait, and for how long.
async fn add_failure<'a>(
    state: &AppState,
    counters: &[Counter<'a>],
) -> Result<Vec<(&'a Ladder, Duration)>, Error> {
    let asks: Vec<_> = counters
        .iter()
        .flat_map(|counter| counter.asks(true))
        .collect();
    let decision = state.limiter.check(&asks).await;
    if let Some(wait) = decision.retry_after() {
        return Err(Error::TooManyAttempts(wait));
    }
    let mut standings = decision.standings.into_iter();
    let mut struck = Vec::new();
    for counter in counters {
        let failures = standings.nth(counter.ladder.waits.len());
        if failures.is_some_and(|failures| failures.left() == 0) {
            struck.push((counter.ladder, strike(state, *counter).await));
        }
    }
    Ok(struck)
}

/// Begins the next wait of a counter whose failures are used up, and answers how long it is. The
/// wait begins before the failures are forgotten, so that nobody slips through between.
async fn strike(state: &AppState, Counter { ladder, key }: Counter<'_>) -> Duration {
    let counted = state
        .limiter
        .count(&[Ask::spend(ladder.strikes, key)])
        .await;
    let strikes = counted.standings.first().map_or(1, |one| one.used.max(1));
    let rung = usize::try_from(strikes - 1).unwrap_or(usize::MAX);
    let wait = ladder.waits[rung.min(ladder.waits.len() - 1)];
    state.limiter.count(&[Ask::spend(wait, key)]).await;
    state.limiter.forget(&[(ladder.failures, key)]).await;
    metrics::count_sign_in_wait(ladder.name);
    wait.window()
}

/// Forgets all failures and waits of these.
async fn clear(state: &AppState, counters: &[Counter<'_>]) {
    let uses: Vec<_> = counters
        .iter()
        .flat_map(|Counter { ladder, key }| {
            let waits = ladder.waits.iter().copied();
            let all = waits.chain([ladder.failures, ladder.strikes]);
            all.map(|limit| (limit, *key))
        })
        .collect();
    if !uses.is_empty() {
        state.limiter.forget(&uses).await;
    }
}

/// Waits until there is room for one more attempt.
async fn take_turn(
    state: &AppState,
    views: &[View],
    until: Instant,
) -> Result<Option<Turn>, Error> {
    let rooms: Vec<_> = views.iter().map(|view| (view.key, view.left)).collect();
    match state.turns.begin(&rooms) {
        Ok(turn) => Ok(Some(turn)),
        Err(ended) => match timeout_at(until, ended).await {
            Ok(()) => Ok(None),
            Err(_) => Err(Busy.into()),
        },
    }
}

/// The longest wait of these.
fn refuse(views: &[View]) -> Result<(), Error> {
    let wait = views.iter().filter_map(|view| view.wait).max();
    wait.map_or(Ok(()), |wait| Err(Error::TooManyAttempts(wait)))
}

/// An attempt to sign in that is under way.
pub(super) struct Attempt<'a> {
    state: &'a AppState,
    email: &'a EmailAddress,
    /// Whose account it is, where there is one.
    user_id: Option<UserId>,
    origin: &'a Origin,
    client: Counter<'a>,
    account: Counter<'a>,
    known: Counter<'a>,
    network: IpAddr,
    has_unlocked: bool,
    turn: Option<Turn>,
}

impl<'a> Attempt<'a> {
    /// Begins an attempt, unless there were too many.
    pub(super) async fn begin(
        state: &'a AppState,
        email: &'a EmailAddress,
        user_id: Option<UserId>,
        origin: &'a Origin,
    ) -> Result<Self, Error> {
        let mut attempt = Self::of(state, email, user_id, origin);
        let until = Instant::now() + state.hasher.patience();
        while attempt.turn.is_none() {
            let views = attempt.judges().await?;
            refuse(&views)?;
            attempt.turn = take_turn(state, &views, until).await?;
        }
        Ok(attempt)
    }

    fn of(
        state: &'a AppState,
        email: &'a EmailAddress,
        user_id: Option<UserId>,
        origin: &'a Origin,
    ) -> Self {
        let network = network_of(origin.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let attempts = &state.attempts;
        let account = state.limiter.hidden_key(email.as_str());
        let both = format!("{} {network}", email.as_str());
        let counter = |ladder, key| Counter { ladder, key };
        Self {
            state,
            email,
            user_id,
            origin,
            client: counter(&attempts.client, LimitKey::client(network)),
            account: counter(&attempts.account, account),
            known: counter(&attempts.known, state.limiter.hidden_key(&both)),
            network,
            has_unlocked: false,
            turn: None,
        }
    }

    /// How the counters stand that judge this attempt. As long as none of them refuses it makes no
    /// difference which do, and the database is not asked.
    async fn judges(&mut self) -> Result<Vec<View>, Error> {
        let counters = [self.client, self.account, self.known];
        let unlocked = Ask::peek(self.state.attempts.unlocked, self.known.key);
        let (mut views, is_unspent) = look(self.state, &counters, &[unlocked]).await;
        self.has_unlocked = !is_unspent;
        if views.iter().any(|view| view.wait.is_some()) {
            if self.is_known().await? {
                views.drain(..2);
            } else {
                views.truncate(2);
            }
        }
        Ok(views)
    }

    /// Whether the account knows this client.
    async fn is_known(&self) -> Result<bool, Error> {
        if self.has_unlocked {
            return Ok(true);
        }
        let known_for = self.state.attempts.known_for;
        let since = before(self.state.clock.now(), known_for);
        let db = &self.state.db;
        Ok(store::is_known_client(db, self.user_id, self.network, since).await?)
    }

    /// Counts the attempt as one that failed; answers what to tell of it.
    pub(super) async fn fail(self) -> Result<Error, Error> {
        let counters = if self.is_known().await? {
            vec![self.known]
        } else {
            vec![self.client, self.account]
        };
        let struck = match add_failure(self.state, &counters).await {
            Ok(struck) => struck,
            Err(refused) => return Ok(refused),
        };
        let now = self.state.clock.now();
        let entry = Entry::befell(Event::SignInFailed, self.user_id, None, self.origin);
        audit::record(&self.state.db, entry, now, &self.state.rng).await?;
        for (ladder, wait) in struck {
            self.tell(ladder, wait).await?;
        }
        Ok(Error::InvalidCredentials)
    }

    /// Notes that it came to a wait, and writes to the owner where it is about the account.
    async fn tell(&self, ladder: &Ladder, wait: Duration) -> Result<(), Error> {
        let (state, now) = (self.state, self.state.clock.now());
        let mut tx = begin(&state.db).await?;
        let mut entry = Entry::befell(Event::SignInLocked, self.user_id, None, self.origin);
        entry.detail = serde_json::json!({ "by": ladder.name, "seconds": wait.as_secs() });
        audit::record(&mut *tx, entry, now, &state.rng).await?;
        let since = before(now, state.attempts.unlock_ttl);
        if ladder.name != self.client.ladder.name
            && !store::unlock_is_recent(&mut *tx, self.user_id, since).await?
        {
            // For an address without an account as well: the job finds nobody to write to.
            let version = users::find_credentials_version(&mut *tx, self.email).await?;
            let job = SendUnlock::to(self.email.clone(), version);
            jobs::enqueue_urgent(&mut *tx, &job, Some(&job.key())).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets the attempt pass, unless there were too many failures meanwhile; it costs nothing, and
    /// those before it are forgotten.
    pub(super) async fn succeed(mut self) -> Result<(), Error> {
        let views = self.judges().await?;
        refuse(&views)?;
        let of_account = [self.account, self.known];
        let used = of_account.into_iter().filter(|counter| {
            let mut all = views.iter();
            all.any(|view| view.key == counter.key && view.is_used)
        });
        clear(self.state, &used.collect::<Vec<_>>()).await;
        Ok(())
    }
}

/// Clears the owner's failed attempts. In a task of its own: the link is used up by now, and
/// a client that hangs up must not lose what it stood for.
pub(super) async fn let_back_in(
    state: &AppState,
    email: EmailAddress,
    user_id: UserId,
    origin: &Origin,
) -> Result<(), Error> {
    let (state, origin) = (state.clone(), origin.clone());
    let unlocking = async move { unlock(&state, &email, user_id, &origin).await };
    tokio::spawn(unlocking.in_current_span()).await?;
    Ok(())
}

/// Clears the failed attempts of an account, and those of this client at it.
async fn unlock(state: &AppState, email: &EmailAddress, user_id: UserId, origin: &Origin) {
    let attempt = Attempt::of(state, email, Some(user_id), origin);
    let again = Again::of(state, user_id);
    clear(state, &[attempt.account, attempt.known, again.counter]).await;
    let unlocked = Ask::spend(state.attempts.unlocked, attempt.known.key);
    state.limiter.count(&[unlocked]).await;
}

/// An attempt of somebody signed in at the password that is asked for again.
pub(super) struct Again<'a> {
    state: &'a AppState,
    counter: Counter<'a>,
    turn: Option<Turn>,
}

impl<'a> Again<'a> {
    fn of(state: &'a AppState, user_id: UserId) -> Self {
        let counter = Counter {
            ladder: &state.attempts.reauthentication,
            key: LimitKey::user(user_id.0),
        };
        Self {
            state,
            counter,
            turn: None,
        }
    }

    /// Begins an attempt, unless there were too many.
    pub(super) async fn begin(state: &'a AppState, user_id: UserId) -> Result<Self, Error> {
        let mut attempt = Self::of(state, user_id);
        let until = Instant::now() + state.hasher.patience();
        while attempt.turn.is_none() {
            let (views, _) = look(state, &[attempt.counter], &[]).await;
            refuse(&views)?;
            attempt.turn = take_turn(state, &views, until).await?;
        }
        Ok(attempt)
    }

    /// Counts the attempt as one that failed.
    pub(super) async fn fail(self) -> Result<(), Error> {
        add_failure(self.state, &[self.counter]).await.map(drop)
    }

    /// Lets the attempt pass, unless there were too many failures meanwhile.
    pub(super) async fn succeed(self) -> Result<(), Error> {
        let (views, _) = look(self.state, &[self.counter], &[]).await;
        refuse(&views)?;
        if views.iter().any(|view| view.is_used) {
            clear(self.state, &[self.counter]).await;
        }
        Ok(())
    }
}
