//! Rules between settings.

use std::fmt::Write as _;

use crate::Reader;

/// Rule between settings of `S`, the sections as read.
#[derive(Debug)]
pub struct Rule<S> {
    /// Reported setting.
    pub variable: &'static str,
    /// What must hold.
    pub message: &'static str,
    /// Only in production.
    pub production: bool,
    /// Returns whether the settings break the rule.
    pub broken: fn(&S) -> bool,
}

impl<S> Rule<S> {
    /// Notes a fault in the reader if the settings break the rule.
    pub fn check(&self, all: &S, reader: &mut Reader<'_>) {
        if !(self.broken)(all) {
            return;
        }
        if self.production {
            reader.production_fault(self.variable, self.message);
        } else {
            reader.fault(self.variable, self.message);
        }
    }
}

/// The rules of production, or the others, as a Markdown list.
#[must_use]
pub fn rule_list<S>(rules: &[Rule<S>], production: bool) -> String {
    let mut page = String::new();
    for rule in rules.iter().filter(|rule| rule.production == production) {
        let _ = writeln!(page, "- `{}` {}", rule.variable, rule.message);
    }
    page
}
