//! `doctor`: checks every dependency in the configuration, and the database's clock, schema and privileges.

use std::fmt;

use chrono::TimeDelta;
use clock::Clock;
use settings::Environment;
use tokio::time::{Duration, timeout};

use crate::config::Config;
use crate::migrate;
use crate::state::AppState;

const TIMEOUT: Duration = Duration::from_secs(10);

const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Results of the checks, by their names.
#[derive(Debug, Default)]
pub struct Findings(Vec<(&'static str, Result<(), String>)>);

impl Findings {
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.iter().all(|(_, result)| result.is_ok())
    }

    fn add(&mut self, check: &'static str, result: Result<(), String>) {
        self.0.push((check, result));
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, result) in &self.0 {
            match result {
                Ok(()) => writeln!(f, "ok     {check}")?,
                Err(fault) => writeln!(f, "FAULT  {check}: {fault}")?,
            }
        }
        Ok(())
    }
}

/// Runs every check, also after a failure.
pub async fn examine(state: &AppState, config: &Config) -> Findings {
    let mut findings = Findings::default();
    let misspelt = config
        .suspects
        .iter()
        .map(|s| format!("{} {}", s.variable, s.message));
    findings.add(
        "variables are spelt correctly",
        none_of(&misspelt.collect::<Vec<_>>()),
    );
    let reached = checked(database::ping(&state.db)).await;
    let is_reached = reached.is_ok();
    findings.add("database responds", reached);
    if is_reached {
        examine_database(state, config, &mut findings).await;
    }
    if let Some(redis) = &state.redis {
        let connected = checked(redis.diagnose()).await;
        let is_connected = connected.is_ok();
        findings.add("redis responds", connected);
        if is_connected {
            findings.add("redis runs scripts", checked(state.limiter.probe()).await);
        }
    }
    if let Some(breaches) = &state.breaches {
        findings.add("breach check responds", checked(breaches.ping()).await);
    }
    let accepted = state.mailer.check(TIMEOUT).await;
    let accepted = accepted.map_err(|error| error.to_string());
    findings.add("mail server responds", accepted);
    findings
}

async fn examine_database(state: &AppState, config: &Config, findings: &mut Findings) {
    let db = &state.db;
    let skew = checked(database::clock_skew(db, Clock::system().now())).await;
    let skew = skew.and_then(|skew| {
        (skew.abs() <= MAX_CLOCK_SKEW)
            .then_some(())
            .ok_or_else(|| format!("it is {} s ahead of the system clock", skew.num_seconds()))
    });
    findings.add("database clock", skew);
    let faults = checked(database::database_faults(db, &state.heartbeat)).await;
    findings.add(
        "database encoding, schema and pooling",
        faults.and_then(|all| none_of(&all)),
    );
    let migrated = checked(is_migrated(state)).await;
    let is_migrated = migrated.is_ok();
    findings.add("migrations", migrated);
    // In development one role may be both owner and runtime role.
    if is_migrated && config.environment == Environment::Production {
        let faults = checked(migrate::role_faults(db)).await;
        findings.add(
            "privileges of the runtime role",
            faults.and_then(|all| none_of(&all)),
        );
    }
}

async fn is_migrated(state: &AppState) -> Result<(), String> {
    match state.heartbeat.is_current().await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the schema is older than this release: run `migrate`".to_owned()),
        Err(error) if database::is_missing_table(&error) => {
            Err("the schema is missing: run `migrate`".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn none_of(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

async fn checked<T, E: fmt::Display>(
    check: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(TIMEOUT, check).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}
