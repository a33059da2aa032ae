//! Near-miss names: a misspelt variable would be ignored, and its default used.

use std::collections::BTreeSet;

use crate::{Fault, Reader};

impl Reader<'_> {
    /// Variables that are none of the settings read so far, and are within two typing errors of one or
    /// begin with one of `families`: prefixes that no other program's variables have.
    #[must_use]
    pub fn suspects(&self, families: &[&str]) -> Vec<Fault> {
        let known: BTreeSet<_> = self.effective().iter().map(|it| it.entry.name).collect();
        let is_known = |name: &str| {
            known.contains(name.strip_suffix("_FILE").unwrap_or(name)) || known.contains(name)
        };
        let unknown = self.variables.keys().filter(|name| !is_known(name));
        let mut found: Vec<_> = unknown
            .filter_map(|name| {
                Some(Fault {
                    message: message(name, &known, families)?,
                    variable: name.clone(),
                })
            })
            .collect();
        found.sort_by(|a, b| a.variable.cmp(&b.variable));
        found
    }
}

fn message(name: &str, known: &BTreeSet<&str>, families: &[&str]) -> Option<String> {
    let errors = |known: &str| strsim::damerau_levenshtein(&name.to_uppercase(), known);
    let nearest = known.iter().map(|known| (errors(known), *known)).min();
    match nearest {
        Some((errors, known)) if errors <= 2 && name.len() > 4 => {
            Some(format!("is not a setting; perhaps {known} is meant"))
        }
        _ if families.iter().any(|family| name.starts_with(family)) => {
            Some("is not a setting".to_owned())
        }
        _ => None,
    }
}
