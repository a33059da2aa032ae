//! `docs/configuration.md` and `.env.production.example`, from the declarations.

use settings::{env_section, markdown_section, production_list, required_table, rule_list};

use super::Settings;
use super::rules::RULES;

const INTRODUCTION: &str = include_str!("introduction.md");

const PRODUCTION: &str = "\
## What production refuses

With `APP_ENV=production`, which is the default, a process does not start unless these hold:
";

const BETWEEN_SETTINGS: &str = "\
## Rules between settings

These hold in development as well:
";

const ENV_INTRODUCTION: &str = include_str!("introduction.env");

/// `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let sections = Settings::SECTIONS;
    let mut parts = vec![
        INTRODUCTION.to_owned(),
        format!("## Required\n\n{}", required_table(sections)),
    ];
    parts.extend(sections.iter().filter_map(markdown_section));
    let production = production_list(sections) + &rule_list(&RULES, true);
    parts.push(format!("{PRODUCTION}\n{production}"));
    parts.push(format!("{BETWEEN_SETTINGS}\n{}", rule_list(&RULES, false)));
    parts.join("\n")
}

/// `.env.production.example`.
#[must_use]
pub fn env_example() -> String {
    let mut parts = vec![ENV_INTRODUCTION.to_owned()];
    parts.extend(Settings::SECTIONS.iter().map(env_section));
    parts.join("\n")
}
