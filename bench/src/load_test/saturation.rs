//! Saturation: users without think time, twice as many in each step, until replies take too long.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use groundwork_dev::{Error, Result};
use tokio::task::JoinSet;

use super::client::Target;
use super::options::Replicas;
use super::processes::{Usage, Watched};
use super::report::Objective;
use super::samples::{Percentiles, Samples};
use super::servers::{self, Servers};
use super::user::{Course, User};
use crate::report::tell;

/// Connections of each step.
const STEPS: [usize; 8] = [4, 8, 16, 32, 64, 128, 256, 512];

/// Connections of the last step.
pub(super) const MOST: usize = STEPS[STEPS.len() - 1];

/// How long a step lasts.
const LENGTH: Duration = Duration::from_secs(5);

/// Users that sign in at once before a step.
const SIGNING_IN: usize = 8;

/// Limits that the load does not reach: those by account assume think time.
pub(super) const LIMITS: [(&str, &str); 8] = [
    ("LIMIT_GUARD", "1000000/1s"),
    ("LIMIT_SESSION", "1000000/1m"),
    ("LIMIT_UPLOAD", "1000000/1m"),
    ("PLAN_FREE_RATE", "1000000"),
    ("PLAN_FREE_QUOTA", "0"),
    ("PLAN_FREE_EVENTS", "0"),
    ("PLAN_FREE_EVENT_MIB", "0"),
    ("PLAN_FREE_FILES", "0"),
];

/// Result of one step.
pub(super) struct Step {
    pub(super) connections: usize,
    /// Good replies in a second.
    pub(super) rate: f64,
    pub(super) percentiles: Percentiles,
    pub(super) requests: usize,
    pub(super) errors: usize,
    /// The most frequent failure.
    pub(super) failure: Option<String>,
    pub(super) usage: Usage,
}

impl Step {
    pub(super) fn is_kept(&self, objective: Objective) -> bool {
        self.percentiles.p95 <= objective.p95 && objective.allows(self.requests, self.errors)
    }
}

/// Measures steps until one misses the objective.
pub(super) async fn measure(
    servers: &Servers,
    replicas: Option<Replicas>,
    has_files: bool,
    objective: Objective,
) -> Result<Vec<Step>> {
    let service = servers.start(&LIMITS, replicas).await?;
    let target = Arc::new(Target::behind_proxy(service.addr()));
    let watched = servers.watched(&service);
    let mut users: Vec<User> = Vec::new();
    let mut steps = Vec::new();
    for connections in STEPS {
        tell(&format!("{connections} connections without think time"));
        users.extend(self::users(&target, users.len()..connections, has_files));
        users = sign_in(users).await?;
        let (used, samples, usage) = hurry(users, LENGTH, &watched).await?;
        users = used;
        let step = step(connections, &samples, usage);
        let is_kept = step.is_kept(objective);
        steps.push(step);
        if !is_kept {
            break;
        }
    }
    service.stop().await;
    Ok(steps)
}

/// Users with these accounts, who have not signed in and send without think time.
pub(super) fn users(target: &Arc<Target>, numbers: Range<usize>, has_files: bool) -> Vec<User> {
    let course = Course::signed_in(has_files);
    let user = |number| {
        let account = servers::account(number);
        let address = u32::try_from(number).unwrap_or_default();
        let target = Arc::clone(target);
        User::new(target, account, address, course.clone(), Duration::ZERO)
    };
    numbers.map(user).collect()
}

/// Sends requests of all users without think time. Returns the users, and the results.
pub(super) async fn hurry(
    users: Vec<User>,
    length: Duration,
    watched: &[Watched],
) -> Result<(Vec<User>, Samples, Usage)> {
    let before = Usage::now(watched);
    let began = Instant::now();
    let mut running = JoinSet::new();
    for mut user in users {
        running.spawn(async move {
            let samples = user.hurry_until(began, began + length).await;
            (user, samples)
        });
    }
    let (mut users, mut samples) = (Vec::new(), Samples::default());
    while let Some(ended) = running.join_next().await {
        let (user, its) = ended.map_err(|error| Error::Other(error.to_string()))?;
        samples.add(its);
        users.push(user);
    }
    Ok((users, samples, Usage::now(watched).since(&before)))
}

fn step(connections: usize, samples: &Samples, usage: Usage) -> Step {
    let (requests, errors) = samples.totals();
    let failure = samples.failures().into_iter().next();
    let replies = u32::try_from(requests - errors).unwrap_or(u32::MAX);
    Step {
        connections,
        rate: f64::from(replies) / usage.seconds,
        percentiles: samples.signed_in(),
        requests,
        errors,
        failure: failure.map(|(route, what, _)| format!("{}: {what}", route.name())),
        usage,
    }
}

/// Signs in those without a session, a few at a time.
pub(super) async fn sign_in(users: Vec<User>) -> Result<Vec<User>> {
    let mut signed_in = Vec::new();
    let mut left = users.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < SIGNING_IN
            && let Some(mut user) = left.next()
        {
            running.spawn(async move {
                let mut samples = Samples::default();
                let done = user.sign_in(&mut samples).await;
                (user, done, samples)
            });
        }
        let Some(ended) = running.join_next().await else {
            return Ok(signed_in);
        };
        let (user, done, samples) = ended.map_err(|error| Error::Other(error.to_string()))?;
        if !done {
            let failures = samples.failures();
            let what = failures.first().map_or("", |(_, what, _)| what);
            return Err(Error::Other(format!("a user cannot sign in: {what}")));
        }
        signed_in.push(user);
    }
}
