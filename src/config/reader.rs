//! Reads variables one by one, and remembers every fault on the way.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use super::setting::{LONGEST, Setting};
use super::suspects::{statement_log, suspects};
use super::{Config, Fault, Faults};

/// Reads variables one by one and remembers what was wrong with each.
pub(super) struct Reader<'a> {
    variables: &'a HashMap<String, String>,
    pub(super) production: bool,
    asked_for: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a HashMap<String, String>) -> Self {
        Self {
            variables,
            production: true,
            asked_for: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// All settings, or all faults.
    pub(super) fn read(mut self) -> Result<Config, Faults> {
        match self.config() {
            Some(mut config) if self.faults.is_empty() => {
                config.suspects = suspects(self.variables, &self.asked_for);
                let (echo, level) = (config.database.echo, &config.telemetry.level);
                config.suspects.extend(statement_log(echo, level));
                Ok(config)
            }
            _ => Err(Faults(self.faults)),
        }
    }

    /// The names of all settings, as they are asked for.
    #[cfg(test)]
    pub(super) fn names(mut self) -> BTreeSet<&'static str> {
        self.config();
        self.asked_for
    }

    /// One section alone, or its faults.
    pub(super) fn read_section<T>(
        mut self,
        section: fn(&mut Self) -> Option<T>,
    ) -> Result<T, Faults> {
        self.environment();
        match section(&mut self) {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Faults(self.faults)),
        }
    }

    /// Notes what may stand in development and never in production.
    pub(super) fn refuse_if(&mut self, unsafe_there: bool, variable: &str, message: &str) {
        if unsafe_there && self.production {
            self.fault(variable, message);
        }
    }

    pub(super) fn fault(&mut self, variable: &str, message: impl Into<String>) {
        self.faults.push(Fault {
            variable: variable.to_owned(),
            message: message.into(),
        });
    }

    /// How many faults there are so far.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.len()
    }

    /// The variable's text: its own, or that of the file which `<name>_FILE` names. Empty is unset.
    fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked_for.insert(name);
        let get = |name: &str| {
            self.variables
                .get(name)
                .filter(|text| !text.trim().is_empty())
        };
        let (own, file) = (get(name).cloned(), get(&format!("{name}_FILE")).cloned());
        match (own, file) {
            (Some(_), Some(_)) => {
                self.fault(name, format!("is set, and so is {name}_FILE: keep one"));
                None
            }
            (Some(text), None) => Some(text.trim().to_owned()),
            (None, Some(path)) => match std::fs::read_to_string(path.trim()) {
                // Some editors begin a file with a byte order mark.
                Ok(text) => Some(text.trim_start_matches('\u{feff}').trim().to_owned()),
                Err(error) => {
                    self.fault(
                        &format!("{name}_FILE"),
                        format!("cannot be read: {}", error.kind()),
                    );
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn parse<T: Setting>(&mut self, name: &str, text: &str) -> Option<T> {
        T::parse(text)
            .map_err(|message| self.fault(name, message))
            .ok()
    }

    pub(super) fn optional<T: Setting>(&mut self, name: &'static str) -> Option<T> {
        let text = self.text(name)?;
        self.parse(name, &text)
    }

    pub(super) fn required<T: Setting>(&mut self, name: &'static str) -> Option<T> {
        let before = self.faults.len();
        let value = self.optional(name);
        if value.is_none() && self.faults.len() == before {
            self.fault(name, "is required");
        }
        value
    }

    pub(super) fn or<T: Setting>(&mut self, name: &'static str, default: T) -> Option<T> {
        match self.text(name) {
            Some(text) => self.parse(name, &text),
            None => Some(default),
        }
    }

    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Option<T>
    where
        T: Setting + PartialOrd + fmt::Display,
    {
        let value = self.or(name, default)?;
        if range.contains(&value) {
            return Some(value);
        }
        self.fault(
            name,
            format!("must be {} to {}", range.start(), range.end()),
        );
        None
    }

    /// A time that may be nought.
    pub(super) fn span(&mut self, name: &'static str, default: Duration) -> Option<Duration> {
        let value = self.or(name, default)?;
        self.at_most(name, value, LONGEST)
    }

    /// A time of at most so long, which may be nothing.
    pub(super) fn span_up_to(
        &mut self,
        name: &'static str,
        default: Duration,
        longest: Duration,
    ) -> Option<Duration> {
        let value = self.span(name, default)?;
        self.at_most(name, value, longest)
    }

    /// A time limit of at most so long: what adds it to the present, or takes it for a number of
    /// milliseconds, overflows with more.
    pub(super) fn duration_up_to(
        &mut self,
        name: &'static str,
        default: Duration,
        longest: Duration,
    ) -> Option<Duration> {
        let value = self.duration(name, default)?;
        self.at_most(name, value, longest)
    }

    fn at_most(&mut self, name: &str, value: Duration, longest: Duration) -> Option<Duration> {
        if value <= longest {
            return Some(value);
        }
        self.fault(name, format!("must be at most {}", written(longest)));
        None
    }

    /// A time that must not be longer in production, since what it keeps valid is somebody's access.
    pub(super) fn refuse_above(&mut self, name: &str, value: Option<Duration>, longest: Duration) {
        let too_long = value.is_some_and(|value| value > longest);
        let message = format!("must be at most {} in production", written(longest));
        self.refuse_if(too_long, name, &message);
    }

    /// A time limit, which nought would make useless.
    pub(super) fn duration(&mut self, name: &'static str, default: Duration) -> Option<Duration> {
        let value = self.span(name, default)?;
        if value.is_zero() {
            self.fault(name, "must be longer than nought");
            return None;
        }
        Some(value)
    }

    pub(super) fn list<T: Setting>(&mut self, name: &'static str) -> Option<Vec<T>> {
        let text = self.text(name).unwrap_or_default();
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let parsed: Vec<Option<T>> = parts.map(|part| self.parse(name, part)).collect();
        parsed.into_iter().collect()
    }
}

/// A time as a setting is written.
fn written(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        seconds if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
