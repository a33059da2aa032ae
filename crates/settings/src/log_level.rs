//! Directives of a log filter. `tracing-subscriber` takes a word that is no level for the name of a
//! module, and then drops every other line.

use crate::Setting;

const MESSAGE: &str =
    "must be off, error, warn, info, debug or trace, and may name modules besides: info,sqlx=debug";

/// The filter's directives, as text. One of them is the level of everything else.
#[derive(Debug)]
pub struct LogLevel;

impl Setting for LogLevel {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let directives = text.split(',').map(directive);
        let mut directives: Vec<String> = directives
            .collect::<Option<_>>()
            .ok_or_else(|| MESSAGE.to_owned())?;
        let general = directives.iter().filter(|one| !one.contains('='));
        match general.count() {
            // Modules alone would drop every other line.
            0 => directives.insert(0, "info".to_owned()),
            1 => {}
            _ => return Err(format!("{MESSAGE}; it has two levels for everything")),
        }
        Ok(directives.join(","))
    }
}

/// A level, or a module and its level.
fn directive(text: &str) -> Option<String> {
    match text.trim().split_once('=') {
        None => level(text).map(str::to_owned),
        Some((module, level_text)) => {
            let module = module.trim();
            let is_module = !module.is_empty()
                && module
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
            let level = level(level_text)?;
            is_module.then(|| format!("{module}={level}"))
        }
    }
}

fn level(text: &str) -> Option<&'static str> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "off" => "off",
        "error" => "error",
        // As Python, nginx and syslog spell it.
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_of_the_filters_and_never_taken_for_a_module() {
        for (text, directives) in [
            ("info", "info"),
            ("WARNING", "warn"),
            ("Debug", "debug"),
            ("info,sqlx=debug", "info,sqlx=debug"),
            (
                " warn , groundwork::web = trace ",
                "warn,groundwork::web=trace",
            ),
            ("sqlx=warning", "info,sqlx=warn"),
            ("off", "off"),
        ] {
            let read = LogLevel::parse(text);
            assert_eq!(read, Ok(directives.to_owned()), "{text}");
            assert!(
                directives
                    .parse::<tracing_subscriber::filter::Targets>()
                    .is_ok()
            );
        }
        for text in [
            "warnings",
            "verbose",
            "3",
            "sqlx",
            "info,",
            ",info",
            "=info",
            "info=",
            "a b=info",
            "info,debug",
            "info;sqlx=debug",
            "sqlx=loud",
            "[span]=info",
            "INFO DEBUG",
            "ínfo",
        ] {
            assert!(LogLevel::parse(text).is_err(), "{text}");
        }
    }
}
