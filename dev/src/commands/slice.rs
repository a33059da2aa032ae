//! `slice`: writes a slice of the product, and prints what it wrote.

use std::process::ExitCode;

use chrono::Utc;
use groundwork_dev::{Result, slice};

use super::{home, say};

/// Options of `slice`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Plural in `snake_case`, such as `support_tickets`
    name: String,
    /// Singular, where it does not follow from the plural
    #[arg(long)]
    singular: Option<String>,
}

/// Exits with 1 if lines have to be added by hand.
pub(crate) fn slice(options: &Options) -> Result<ExitCode> {
    let root = home::checkout()?;
    let singular = options.singular.as_deref().filter(|it| !it.is_empty());
    let written = slice::write(&root, &options.name, singular, Utc::now().naive_utc())?;
    for path in &written.created {
        say(&format!("new      {path}"));
    }
    for path in &written.changed {
        say(&format!("changed  {path}"));
    }
    for missing in &written.missing {
        say(&format!(
            "{} not found in {}: add it by hand:\n{}",
            missing.place, missing.path, missing.text
        ));
    }
    Ok(if written.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        say("Then run `make sqlx openapi privacy`.");
        ExitCode::FAILURE
    })
}
