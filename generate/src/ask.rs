//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal};

use optional_slices::Definition;

use crate::answers::{self, Licence};
use crate::error::{Error, Result};
use crate::{say, variable};

/// Answer for an empty list.
const NONE: &str = "none";

/// The answer: of the environment, of the terminal, or the proposal where nobody can be asked.
pub(crate) fn answer(
    name: &str,
    question: &str,
    proposal: &str,
    check: impl Fn(&str) -> Result<()>,
) -> Result<String> {
    if let Some(given) = variable(name) {
        check(&given)?;
        return Ok(given);
    }
    if !io::stdin().is_terminal() {
        check(proposal)?;
        return Ok(proposal.to_owned());
    }
    loop {
        say(&format!("{question} [{proposal}]"));
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let line = line.trim();
        if matches!(read, Ok(0) | Err(_)) || line.is_empty() {
            return Ok(proposal.to_owned());
        }
        match check(line) {
            Ok(()) => return Ok(line.to_owned()),
            Err(error) => say(&error.to_string()),
        }
    }
}

pub(crate) fn licence() -> Result<Licence> {
    let names = Licence::ALL.map(|(name, _)| name).join(", ");
    let text = answer(
        "LICENCE",
        &format!("Licence ({names})"),
        "proprietary",
        |text| Licence::parse(text).map(|_| ()),
    )?;
    Licence::parse(&text)
}

/// Names of optional slices that the product does not have.
pub(crate) fn without(optional: &[Definition]) -> Result<Vec<String>> {
    if optional.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = optional.iter().map(|slice| slice.name.as_str()).collect();
    let parse = |text: &str| -> Result<Vec<String>> {
        let mut chosen: Vec<String> = text
            .split([' ', ','])
            .filter(|name| !name.is_empty() && *name != NONE)
            .map(str::to_owned)
            .collect();
        chosen.sort();
        chosen.dedup();
        match chosen.iter().find(|name| !names.contains(&name.as_str())) {
            None => Ok(chosen),
            Some(unknown) => {
                let list = optional
                    .iter()
                    .map(|slice| format!("\n  {:<16}{}", slice.name, slice.about));
                Err(Error::refused(format!(
                    "{unknown:?} is no optional slice. These are:{}",
                    list.collect::<String>()
                )))
            }
        }
    };
    let question = format!("Slices to leave out, of: {}", names.join(", "));
    let text = answer("WITHOUT", &question, NONE, |text| parse(text).map(|_| ()))?;
    parse(&text)
}

pub(crate) fn description(title: &str) -> Result<String> {
    let proposal = format!("The backend of {title}");
    answer(
        "DESCRIPTION",
        "Description in one line",
        &proposal,
        answers::check_description,
    )
}
