//! `doctor`: checks every dependency in the configuration, and the database's clock, schema and privileges.

use std::borrow::Borrow;
use std::fmt;

use chrono::TimeDelta;
use tokio::time::{Duration, timeout};

use crate::config::{Config, Environment};
use crate::infra::{Clock, Db, db};
use crate::migrate;
use crate::state::AppState;

const TIMEOUT: Duration = Duration::from_secs(10);

const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    check: &'static str,
    fault: Option<String>,
}

impl Findings {
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.iter().all(|finding| finding.fault.is_none())
    }

    fn add(&mut self, check: &'static str, result: Result<(), String>) {
        self.0.push(Finding {
            check,
            fault: result.err(),
        });
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, fault } in &self.0 {
            match fault {
                None => writeln!(f, "ok     {check}")?,
                Some(fault) => writeln!(f, "FAULT  {check}: {fault}")?,
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
    let reached = checked(db::ping(&state.db)).await;
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
    let db: &Db = &state.db;
    let skew = match timeout(TIMEOUT, db::clock_skew(db, Clock::system().now())).await {
        Ok(Ok(skew)) if skew.abs() <= MAX_CLOCK_SKEW => Ok(()),
        Ok(Ok(skew)) => Err(format!(
            "it is {} s ahead of the system clock",
            skew.num_seconds()
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no response in time".to_owned()),
    };
    findings.add("database clock", skew);
    let faults = match timeout(TIMEOUT, db::database_faults(db, &state.heartbeat)).await {
        Ok(Ok(faults)) => none_of(&faults),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no response in time".to_owned()),
    };
    findings.add("database encoding, schema and pooling", faults);
    let current = match timeout(TIMEOUT, state.heartbeat.is_current()).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("the schema is older than this release: run `migrate`".to_owned()),
        Ok(Err(error)) if db::is_missing_table(&error) => {
            Err("the schema is missing: run `migrate`".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no response in time".to_owned()),
    };
    let is_migrated = current.is_ok();
    findings.add("migrations", current);
    // In development one role may be both owner and runtime role.
    if is_migrated && config.environment == Environment::Production {
        let rights = match timeout(TIMEOUT, migrate::role_faults(db)).await {
            Ok(Ok(faults)) => none_of(&faults),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no response in time".to_owned()),
        };
        findings.add("privileges of the runtime role", rights);
    }
}

fn none_of<S: Borrow<str>>(faults: &[S]) -> Result<(), String> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

async fn checked<T, E: fmt::Display>(
    check: impl Future<Output = Result<T, E>>,
) -> Result<(), String> {
    match timeout(TIMEOUT, check).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no response in time".to_owned()),
    }
}
