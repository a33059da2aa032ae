//! Reads settings one by one and collects every fault.

use std::collections::HashMap;
use std::fmt;

use crate::{Entry, Environment, Field};

/// What is wrong with one variable; the value is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub variable: String,
    /// What it must be.
    pub message: String,
}

/// Every fault of a configuration, in the order of the declarations.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        for Fault { variable, message } in &self.0 {
            write!(f, "\n  {variable}: {message}")?;
        }
        Ok(())
    }
}

/// Where a setting's text is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The variable itself.
    Environment,
    /// The file that `<name>_FILE` names.
    File,
    /// Its default, fixed or computed.
    Default,
    /// Nowhere: it is unset and has no default.
    Unset,
    /// It is set, and could not be read. The text is not kept: it may be a secret in the wrong place.
    Faulty,
}

/// A setting as it was read.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The declaration.
    pub entry: &'static Entry,
    /// Where the text is from.
    pub source: Source,
    text: Option<String>,
}

impl fmt::Display for Effective {
    /// A line of an env file with the source as a comment; a secret is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.text {
            Some(_) if self.entry.is_secret => "********",
            text => text.as_deref().unwrap_or_default(),
        };
        let name = self.entry.name;
        match self.source {
            Source::Environment => write!(f, "{name}={text}  # from the environment"),
            Source::File => write!(f, "{name}={text}  # from {name}_FILE"),
            Source::Default => write!(f, "{name}={text}  # default"),
            Source::Unset => write!(f, "{name}=  # unset"),
            Source::Faulty => write!(f, "{name}=  # faulty"),
        }
    }
}

/// Reads settings one by one and collects what is wrong with each.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(crate) variables: &'a HashMap<String, String>,
    production: bool,
    read: Vec<Effective>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// A reader in production, until a setting that `decides_production` says otherwise.
    #[must_use]
    pub fn new(variables: &'a HashMap<String, String>) -> Self {
        Self {
            variables,
            production: true,
            read: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Where the process runs.
    #[must_use]
    pub fn environment(&self) -> Environment {
        if self.is_production() {
            Environment::Production
        } else {
            Environment::Development
        }
    }

    /// Whether production rules apply.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.production
    }

    /// The settings read so far.
    #[must_use]
    pub fn effective(&self) -> &[Effective] {
        &self.read
    }

    /// The text of a setting that was read before without a fault, its default included.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let read = self.read.iter().find(|read| read.entry.name == name);
        read?.text.as_deref()
    }

    /// Notes a fault.
    pub fn fault(&mut self, variable: &str, message: impl Into<String>) {
        self.faults.push(Fault {
            variable: variable.to_owned(),
            message: message.into(),
        });
    }

    /// Notes a fault that counts in production alone.
    pub fn production_fault(&mut self, variable: &str, message: &str) {
        if self.production {
            self.fault(variable, format!("{message} (in production)"));
        }
    }

    /// The value, unless there is a fault.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Faults> {
        let position = |fault: &Fault| {
            let is_its = |read: &Effective| {
                let rest = fault.variable.strip_prefix(read.entry.name);
                matches!(rest, Some("" | "_FILE"))
            };
            self.read.iter().position(is_its)
        };
        self.faults.sort_by_key(position);
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Faults(self.faults)),
        }
    }

    /// The variable's text: its own, or that of the file which `<name>_FILE` names. Empty is unset.
    fn lookup(&mut self, name: &str) -> Result<Option<(String, Source)>, ()> {
        let get = |name: &str| {
            let text = self.variables.get(name)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let file_name = format!("{name}_FILE");
        match (get(name), get(&file_name)) {
            (Some(_), Some(_)) => {
                self.fault(name, format!("is set, and so is {file_name}: keep one"));
                Err(())
            }
            (Some(text), None) => Ok(Some((text, Source::Environment))),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                // Some editors begin a file with a byte order mark.
                Ok(text) => {
                    let text = text.trim_start_matches('\u{feff}').trim();
                    Ok(Some((text.to_owned(), Source::File)))
                }
                Err(error) => {
                    self.fault(&file_name, format!("cannot be read: {}", error.kind()));
                    Err(())
                }
            },
            (None, None) => Ok(None),
        }
    }
}

#[doc(hidden)]
impl Reader<'_> {
    pub fn decide_production(&mut self, production: bool) {
        self.production = production;
    }

    /// Whether the setting read last is unset.
    #[must_use]
    pub fn is_default(&self) -> bool {
        let source = self.read.last().map(|read| read.source);
        !matches!(source, Some(Source::Environment | Source::File))
    }

    /// The value of a setting, or `None` with its fault noted.
    pub fn read<F: Field>(&mut self, entry: &'static Entry) -> Option<F::Value> {
        let mut effective = Effective {
            entry,
            source: Source::Unset,
            text: None,
        };
        let value = self.read_into::<F>(&mut effective);
        self.read.push(effective);
        value
    }

    fn read_into<F: Field>(&mut self, effective: &mut Effective) -> Option<F::Value> {
        let entry = effective.entry;
        effective.source = Source::Faulty;
        if let Some((text, source)) = self.lookup(entry.name).ok()? {
            match F::read(&text) {
                Ok(Some(value)) => {
                    (effective.text, effective.source) = (Some(text), source);
                    return Some(value);
                }
                // A list of nothing but commas.
                Ok(None) => {}
                Err(message) => {
                    self.fault(entry.name, message);
                    return None;
                }
            }
        }
        effective.source = Source::Unset;
        let text = match entry.computed {
            Some(computed) => Some((computed.text)(self)?),
            None => entry.fixed_default(self.production).map(str::to_owned),
        };
        if let Some(text) = text {
            let read = F::read(&text);
            (effective.text, effective.source) = (Some(text), Source::Default);
            return match read {
                Ok(value) => value,
                // A computed default may be faulty because of a setting that is reported already.
                Err(_) if entry.computed.is_some() && !self.faults.is_empty() => None,
                Err(message) => {
                    self.fault(entry.name, format!("has a faulty default: {message}"));
                    None
                }
            };
        }
        match entry.required {
            Some("") => self.fault(entry.name, "is required"),
            Some(hint) => self.fault(entry.name, format!("is required: {hint}")),
            None => return F::unset(),
        }
        None
    }

    pub fn within<F: Field<Item: PartialOrd>>(&mut self, entry: &Entry, value: &F::Value) -> bool {
        let Some((low, high)) = entry.bounds else {
            return true;
        };
        let bound = |text| F::item(text).ok();
        let low = low.and_then(bound);
        let fits = bound(high).is_some_and(|high| {
            let above = |item: &F::Item| low.as_ref().is_none_or(|low| item >= low);
            F::all(value, |item| above(item) && *item <= high)
        });
        if !fits {
            let bounds = entry.bounds_text().unwrap_or_default();
            self.fault(entry.name, format!("must be {bounds}"));
        }
        fits
    }

    pub fn check<F: Field>(
        &mut self,
        entry: &Entry,
        value: &F::Value,
        ok: impl Fn(&F::Item) -> bool,
        message: &str,
    ) -> bool {
        let fits = F::all(value, ok);
        if !fits {
            self.fault(entry.name, message);
        }
        fits
    }

    pub fn production_check<F: Field>(
        &mut self,
        entry: &Entry,
        value: &F::Value,
        ok: impl Fn(&F::Item) -> bool,
        message: &str,
    ) {
        if !F::all(value, ok) {
            self.production_fault(entry.name, message);
        }
    }

    pub fn production_at_most<F: Field<Item: PartialOrd>>(
        &mut self,
        entry: &Entry,
        value: &F::Value,
        high: &str,
    ) {
        let fits = |item: &F::Item| F::item(high).is_ok_and(|high| *item <= high);
        self.production_check::<F>(entry, value, fits, &format!("must be at most {high}"));
    }
}
