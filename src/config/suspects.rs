//! Variables that look like ours and are not. A misspelt one would be passed over in silence, and
//! its default taken.

use std::collections::{BTreeSet, HashMap};

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::Fault;

/// What nobody else's variables begin with.
const FAMILIES: [&str; 13] = [
    "DB_",
    "DENY_",
    "ENCRYPTION_",
    "JWT_",
    "LIMIT_",
    "MAIL_",
    "MFA_",
    "PASSWORD_",
    "REFRESH_",
    "SESSION_",
    "SMTP_",
    "USAGE_",
    "WORKER_",
];

/// The variables among `set` that are within two typing errors of one of `ours`, or of one of our
/// families, and are none of ours.
pub(super) fn suspects(set: &HashMap<String, String>, ours: &BTreeSet<&'static str>) -> Vec<Fault> {
    let mut found: Vec<Fault> = set
        .keys()
        .filter(|name| {
            !ours.contains(name.strip_suffix("_FILE").unwrap_or(name))
                && !ours.contains(name.as_str())
        })
        .filter_map(|name| {
            suspect(name, ours).map(|message| Fault {
                variable: name.clone(),
                message,
            })
        })
        .collect();
    found.sort_by(|a, b| a.variable.cmp(&b.variable));
    found
}

fn suspect(name: &str, ours: &BTreeSet<&'static str>) -> Option<String> {
    let errors = |known: &str| strsim::damerau_levenshtein(&name.to_uppercase(), known);
    let nearest = ours.iter().map(|known| (errors(known), *known)).min();
    match nearest {
        Some((errors, known)) if errors <= 2 && name.len() > 4 => {
            Some(format!("is not a setting; perhaps {known} is meant"))
        }
        _ if FAMILIES.iter().any(|family| name.starts_with(family)) => {
            Some("is not a setting".to_owned())
        }
        _ => None,
    }
}

/// `DB_ECHO` and `LOG_LEVEL` where one asks for the log of SQL statements and the other hides it.
pub(super) fn statement_log(echo: bool, log_level: &str) -> Option<Fault> {
    let targets: Targets = log_level.parse().ok()?;
    let is_shown = targets.would_enable("sqlx::query", &Level::DEBUG);
    let (variable, message) = match (echo, is_shown) {
        (true, false) => (
            "DB_ECHO",
            "logs only statements slower than 1 s unless LOG_LEVEL has sqlx=debug",
        ),
        (false, true) if log_level.contains("sqlx") => (
            "LOG_LEVEL",
            "names sqlx, which logs no statement without DB_ECHO=true",
        ),
        _ => return None,
    };
    Some(Fault {
        variable: variable.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::statement_log;

    #[test]
    fn a_statement_log_that_shows_nothing_is_noticed() {
        let variable = |echo, level| statement_log(echo, level).map(|fault| fault.variable);
        assert_eq!(variable(true, "info"), Some("DB_ECHO".to_owned()));
        assert_eq!(
            variable(false, "info,sqlx=debug"),
            Some("LOG_LEVEL".to_owned())
        );
        assert_eq!(variable(true, "info,sqlx=debug"), None);
        assert_eq!(variable(true, "debug"), None);
        assert_eq!(variable(false, "debug"), None);
        assert_eq!(variable(false, "info,sqlx=warn"), None);
    }
}
