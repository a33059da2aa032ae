//! `doctor`: checks every dependency in the configuration, and the database's clock, schema and privileges.

use std::time::Duration;

use chrono::TimeDelta;
use clock::Clock;
use health_checks::{Findings, none_of};
use settings::Environment;
use tokio::time::timeout;

use crate::config::Config;
use crate::state::AppState;
use crate::{billing, privacy, schema, sealed, storage};

const TIMEOUT: Duration = Duration::from_secs(10);

const STANDBY: &str = "DATABASE_URL leads to a standby, which takes no writes: it must lead to the primary, such as through a \
                       proxy that asks Patroni's /primary";

const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Runs every check, also after a failure.
pub async fn examine(state: &AppState, config: &Config) -> Findings {
    let mut findings = Findings::new(TIMEOUT);
    let misspelt = config
        .suspects
        .iter()
        .map(|s| format!("{} {}", s.variable, s.message));
    findings.add(
        "variables are spelt correctly",
        none_of(&misspelt.collect::<Vec<_>>()),
    );
    if reaches_primary(state, &mut findings).await {
        examine_database(state, config, &mut findings).await;
    }
    if let Some(redis) = &state.redis
        && findings
            .run("redis responds", redis.diagnose(), |()| Ok(()))
            .await
    {
        findings
            .run("redis runs scripts", state.limiter.probe(), |()| Ok(()))
            .await;
    }
    if let Some(breaches) = &state.breaches {
        findings
            .run("breach check responds", breaches.ping(), |()| Ok(()))
            .await;
    }
    billing::findings(state, &mut findings).await;
    if let Some(storage) = &state.storage {
        let listed = storage.list("", None, 1);
        findings
            .run("bucket can be listed", listed, |_| Ok(()))
            .await;
    }
    storage::findings(state, &mut findings).await;
    privacy::finding(state, &mut findings).await;
    if let Some(scanner) = &state.scanner {
        findings
            .run("virus scanner responds", scanner.ping(), |()| Ok(()))
            .await;
    }
    findings.add("mail server responds", state.mailer.check(TIMEOUT).await);
    if config.environment == Environment::Production {
        warn_of_missing_documents(state, &mut findings);
    }
    findings
}

/// Returns whether the database responds and takes writes. The pool opens no connection to a standby, and would only say
/// that none could be had.
async fn reaches_primary(state: &AppState, findings: &mut Findings) -> bool {
    let is_standby = timeout(TIMEOUT, state.heartbeat.is_standby()).await;
    if matches!(is_standby, Ok(Ok(true))) {
        return findings.add("database responds", Err(STANDBY));
    }
    let reached = database::ping(&state.db);
    findings
        .run("database responds", reached, |()| Ok(()))
        .await
}

fn warn_of_missing_documents(state: &AppState, findings: &mut Findings) {
    let privacy = &state.privacy;
    let all = [
        ("TERMS_VERSION", privacy.terms_version.is_some()),
        ("PRIVACY_NOTICE_VERSION", privacy.notice_version.is_some()),
        ("PRIVACY_CONTACT", privacy.contact.is_some()),
    ];
    let missing: Vec<_> = all
        .iter()
        .filter(|(_, is_set)| !is_set)
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        let unset = format!("not set: {}", missing.join(", "));
        findings.warn("terms, privacy notice and contact", unset);
    }
}

async fn examine_database(state: &AppState, config: &Config, findings: &mut Findings) {
    let db = &state.db;
    let skew = database::clock_skew(db, Clock::system().now());
    findings
        .run("database clock", skew, |skew| {
            (skew.abs() <= MAX_CLOCK_SKEW)
                .then_some(())
                .ok_or_else(|| format!("it is {} s ahead of the system clock", skew.num_seconds()))
        })
        .await;
    let faults = database::database_faults(db);
    let name = "database encoding, schema and pooling";
    findings.run(name, faults, |all| none_of(&all)).await;
    if config.database.direct_url.is_some() {
        let faults = database::direct_faults(db);
        let name = "DATABASE_DIRECT_URL leads to the same database";
        findings.run(name, faults, |all| none_of(&all)).await;
    }
    examine_replica(state, findings).await;
    if config.database.migration_url.is_some() {
        let options = schema::connection_options(&config.database);
        let faults = database::migration_faults(db, &config.database, &options);
        let name = "DATABASE_MIGRATION_URL leads to the same database";
        findings.run(name, faults, |all| none_of(&all)).await;
    }
    let is_migrated = findings
        .run("migrations", is_migrated(state), |()| Ok(()))
        .await;
    if is_migrated {
        let faults = schema::row_security_faults(db);
        let name = "row-level security is on, forced and not bypassed";
        findings.run(name, faults, |all| none_of(&all)).await;
    }
    if is_migrated {
        let name = "encryption keys of stored values";
        findings
            .run_described(name, sealed::count_rows(state), |columns| {
                let lines: Vec<String> = columns.iter().map(ToString::to_string).collect();
                let is_known = columns.iter().all(|column| column.unknown_rows() == 0);
                let lines = lines.join("; ");
                if is_known { Ok(lines) } else { Err(lines) }
            })
            .await;
    }
    // In development one role may be both owner and runtime role.
    if is_migrated && config.environment == Environment::Production {
        let faults = schema::role_faults(db);
        let name = "privileges of the runtime role";
        findings.run(name, faults, |all| none_of(&all)).await;
    }
}

async fn examine_replica(state: &AppState, findings: &mut Findings) {
    const NAME: &str = "DATABASE_READ_URL leads to a standby of the same database";
    let Some(replica) = &state.replica else {
        return;
    };
    let mut is_primary = false;
    let found = database::replica_findings(&state.db, replica);
    findings
        .run(NAME, found, |found| {
            is_primary = found.is_primary;
            none_of(&found.faults)
        })
        .await;
    if is_primary {
        findings.warn(NAME, database::READ_URL_OF_PRIMARY);
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
