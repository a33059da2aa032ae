//! Clients that note what was acknowledged, and compare it with the database at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clock::{Clock, Rng, uuid_v7};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Caller, Load, Service, count, is_fine, until};
use crate::world::{CONCURRENCY, World};

/// A request may take `HTTP_REQUEST_TIMEOUT`, which is 15 s, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(18);

/// Pause of a client after a refused request.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

const COUNTED: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage
    WHERE endpoint = 'GET /api/v1/users/me' AND status_code = 200";

/// The kinds of requests, with the clients of each and the pause between its requests.
const READERS: (usize, Duration) = (4, Duration::from_millis(20));
const REGISTRANTS: (usize, Duration) = (2, Duration::from_millis(400));
const REPORTERS: (usize, Duration) = (3, Duration::from_millis(30));
const REFRESHERS: (usize, Duration) = (3, Duration::from_millis(150));

type Acknowledged<T> = Arc<Mutex<BTreeSet<T>>>;

/// Clients of each kind, which alternate between the replicas.
pub struct Clients {
    reads: Load,
    registrations: Load,
    events: Load,
    refreshes: Load,
    emails: Acknowledged<String>,
    ids: Acknowledged<Uuid>,
    tokens: Vec<Arc<Mutex<String>>>,
    caller: Caller,
}

/// Replies to clients during a failover.
pub struct Outage {
    /// From the fault to the last refused request.
    pub lasted: Duration,
    /// From the new primary's promotion to the last refused request.
    pub after_promotion: Duration,
    pub refused: usize,
    pub requests: usize,
    pub slowest: Duration,
}

impl Clients {
    pub async fn start(serving: &[Service]) -> Self {
        let callers: Arc<[Caller]> = serving.iter().map(|it| it.caller.clone()).collect();
        let access = serving[0].sign_in("ada").await.access;
        let mut tokens = Vec::new();
        for client in 0..REFRESHERS.0 {
            let signed_in = serving[0].sign_in(&format!("session-{client}")).await;
            tokens.push(Arc::new(Mutex::new(signed_in.refresh)));
        }
        let caller_of = {
            let callers = Arc::clone(&callers);
            move |client: usize, turn: usize| callers[(client + turn) % callers.len()].clone()
        };
        let (emails, ids) = (Acknowledged::default(), Acknowledged::default());
        Self {
            reads: reads(caller_of.clone(), access.clone()),
            registrations: registrations(caller_of.clone(), Arc::clone(&emails)),
            events: events(caller_of.clone(), access, Arc::clone(&ids)),
            refreshes: refreshes(caller_of, &tokens),
            emails,
            ids,
            tokens,
            caller: callers[0].clone(),
        }
    }

    fn loads(&self) -> [&Load; 4] {
        [
            &self.reads,
            &self.registrations,
            &self.events,
            &self.refreshes,
        ]
    }

    /// Waits until requests of each kind that began after `since` have succeeded, several in a row.
    pub async fn are_served_since(&self, since: Instant) {
        for load in self.loads() {
            until("requests of each kind succeed", async || {
                let outcomes = load.so_far();
                let newest = outcomes.iter().rev().take(4);
                newest.clone().count() == 4 && newest.clone().all(|o| o.began > since && is_fine(o))
            })
            .await;
        }
    }

    /// Returns the replies since the fault, once the requests that have begun by now have ended.
    pub fn outage(&self, fault: Instant, promoted: Instant) -> Outage {
        let all = self.loads().map(Load::so_far).concat();
        let seen: Vec<_> = all.iter().filter(|o| o.began + o.took >= fault).collect();
        let refused: Vec<_> = seen.iter().filter(|o| !is_fine(o)).collect();
        let last = refused.iter().map(|o| o.began + o.took).max();
        let last = last.unwrap_or(fault);
        Outage {
            lasted: last.saturating_duration_since(fault),
            after_promotion: last.saturating_duration_since(promoted),
            refused: refused.len(),
            requests: seen.len(),
            slowest: seen.iter().map(|o| o.took).max().unwrap_or_default(),
        }
    }

    /// Stops the clients, and asserts that what was acknowledged is there: once, all of it, and nobody is signed out.
    pub async fn stop(self, world: &World, failovers: usize) {
        let loads = [self.reads, self.registrations, self.events, self.refreshes];
        let mut by_kind = Vec::new();
        for load in loads {
            by_kind.push(load.stop().await);
        }
        let all = by_kind.concat();
        let wrong: Vec<_> = all.iter().filter(|o| !is_fine(o) && !o.is_shed()).collect();
        assert!(
            wrong.is_empty(),
            "{} of {}: {:?}",
            wrong.len(),
            all.len(),
            wrong[0]
        );
        let slow = all.iter().find(|o| o.took > LONGEST);
        assert!(slow.is_none(), "{slow:?}");

        let mut owner = world.owner().await;
        let emails = unwrap(self.emails);
        let users: Vec<String> = sqlx::query_scalar("SELECT email::text FROM users")
            .fetch_all(&mut owner)
            .await
            .expect("they are read");
        let users: BTreeSet<String> = users.into_iter().collect();
        let lost: Vec<_> = emails.difference(&users).collect();
        assert!(
            lost.is_empty(),
            "{} accounts are lost: {lost:?}",
            lost.len()
        );
        let halves = "SELECT count(*) FROM users AS u WHERE email LIKE 'client-%' AND NOT EXISTS (
            SELECT FROM audit_log AS a WHERE a.user_id = u.id AND a.event = 'registered')";
        assert_eq!(count(&mut owner, halves).await, 0, "half of a sign-up");

        let ids = unwrap(self.ids);
        let stored: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM events")
            .fetch_all(&mut owner)
            .await
            .expect("they are read");
        let distinct: BTreeSet<Uuid> = stored.iter().copied().collect();
        assert_eq!(stored.len(), distinct.len(), "an event is stored twice");
        let lost = ids.difference(&distinct).count();
        assert_eq!(lost, 0, "events are lost");

        let reads = by_kind[0].iter().filter(|o| is_fine(o)).count();
        let reads = i64::try_from(reads).expect("not that many");
        let mut counted = 0;
        until("the requests are counted", async || {
            counted = count(&mut owner, COUNTED).await;
            counted >= reads
        })
        .await;
        assert_eq!(counted, reads, "requests are counted twice");

        for token in self.tokens {
            let token = token.lock().expect("nobody panics here").clone();
            let refreshed = self.caller.refresh(&token).await;
            assert!(is_fine(&refreshed), "signed out: {refreshed:?}");
        }
        let ended = "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL";
        assert_eq!(count(&mut owner, ended).await, 0, "sessions ended");
        emails_came(world, &mut owner, &emails, failovers).await;
        show(&format!(
            "kept: {} accounts, {} events, {reads} counted reads",
            emails.len(),
            ids.len()
        ));
    }
}

/// Asserts that each acknowledged registration has its email. The email of a job that was running when the primary
/// failed is sent again, since nothing has noted that it was sent.
async fn emails_came(
    world: &World,
    owner: &mut sqlx::PgConnection,
    emails: &BTreeSet<String>,
    failovers: usize,
) {
    let queued = "SELECT count(*) FROM graphile_worker._private_jobs WHERE run_at <= now()";
    until("the queue is empty", async || {
        count(owner, queued).await == 0
    })
    .await;
    let dead = "SELECT count(*) FROM graphile_worker._private_jobs WHERE attempts >= max_attempts";
    assert_eq!(count(owner, dead).await, 0, "jobs are dead");
    let mut repeated = 0;
    for email in emails {
        let copies = world.inbox.emails_to(email).len();
        assert!(copies > 0, "{email} got nothing");
        repeated += copies - 1;
    }
    let running = 2 * CONCURRENCY * failovers;
    assert!(repeated <= running, "{repeated} emails were sent again");
    show(&format!(
        "emails: {}, of which {repeated} were sent again",
        emails.len()
    ));
}

fn unwrap<T: Ord + Clone>(acknowledged: Acknowledged<T>) -> BTreeSet<T> {
    acknowledged.lock().expect("nobody panics here").clone()
}

fn reads(caller_of: impl CallerOf, access: String) -> Load {
    let (clients, pause) = READERS;
    Load::with_pause(AFTER_FAILURE, clients, move |client, turn| {
        let (caller, access) = (caller_of(client, turn), access.clone());
        async move {
            tokio::time::sleep(pause).await;
            caller.me(&access).await
        }
    })
}

fn registrations(caller_of: impl CallerOf, emails: Acknowledged<String>) -> Load {
    let (clients, pause) = REGISTRANTS;
    Load::with_pause(AFTER_FAILURE, clients, move |client, turn| {
        let (caller, emails) = (caller_of(client, turn), Arc::clone(&emails));
        async move {
            tokio::time::sleep(pause).await;
            let email = format!("client-{client}-{turn}@example.com");
            let outcome = caller.register(&email).await;
            if is_fine(&outcome) {
                emails.lock().expect("nobody panics here").insert(email);
            }
            outcome
        }
    })
}

/// Each event is sent until it is acknowledged, under one id.
fn events(caller_of: impl CallerOf, access: String, ids: Acknowledged<Uuid>) -> Load {
    let (clients, pause) = REPORTERS;
    let waiting: Arc<[Mutex<Option<Uuid>>]> = (0..clients).map(|_| Mutex::default()).collect();
    Load::with_pause(AFTER_FAILURE, clients, move |client, turn| {
        let (caller, access) = (caller_of(client, turn), access.clone());
        let (ids, waiting) = (Arc::clone(&ids), Arc::clone(&waiting));
        async move {
            tokio::time::sleep(pause).await;
            let last = waiting[client].lock().expect("nobody panics here").take();
            let id = last.unwrap_or_else(|| uuid_v7(Clock::system().now(), &Rng::system()));
            let body = json!({ "id": id, "type": "report.created", "data": { "client": client } });
            let path = "/api/v1/events";
            let outcome = caller
                .call(Method::POST, path, Some(&access), Some(body))
                .await;
            if is_fine(&outcome) {
                ids.lock().expect("nobody panics here").insert(id);
            } else {
                *waiting[client].lock().expect("nobody panics here") = Some(id);
            }
            outcome
        }
    })
}

/// Each client has a session of its own, and uses the newest token that it was given.
fn refreshes(caller_of: impl CallerOf, tokens: &[Arc<Mutex<String>>]) -> Load {
    let (clients, pause) = REFRESHERS;
    let tokens = tokens.to_vec();
    Load::with_pause(AFTER_FAILURE, clients, move |client, turn| {
        let (caller, token) = (caller_of(client, turn), Arc::clone(&tokens[client]));
        async move {
            tokio::time::sleep(pause).await;
            let used = token.lock().expect("nobody panics here").clone();
            let outcome = caller.refresh(&used).await;
            if let Some(next) = outcome.body["refresh_token"].as_str() {
                next.clone_into(&mut token.lock().expect("nobody panics here"));
            }
            outcome
        }
    })
}

trait CallerOf: Fn(usize, usize) -> Caller + Clone + Send + 'static {}
impl<F: Fn(usize, usize) -> Caller + Clone + Send + 'static> CallerOf for F {}

#[expect(clippy::print_stdout, reason = "the figures of the page")]
pub fn show(line: &str) {
    println!("{line}");
}
