//! `docs/configuration.md` and `.env.production.example`, from the declarations.

use settings::{env_section, markdown_section, production_list, required_table};

use super::{Settings, rules};

const INTRODUCTION: &str = "\
<!-- Written by `make settings` from src/config/. -->

# Configuration

Settings are environment variables. They are read once, before anything starts (`src/config.rs`); all faults are
reported at once, by name and never with a value. A variable that is one or two letters off a known one is logged.

- Empty is the same as unset.
- `X_FILE` may stand for any `X`: the path of a file that has the value, as mounted secrets are. Both at once are
  refused.
- A time is `500ms`, `30s`, `15m`, `24h`, `14d`, or a plain number of seconds; a time limit cannot be zero, and no time
  is longer than `3650d`. A flag is `true` or `false`. A list is separated by commas.

`groundwork keys generate` prints good values for the secrets, `groundwork config` what is in effect and where it is
from, without secrets, and `groundwork doctor` checks all of it, with the services that it names.
`.env.production.example` has every setting to copy. `make run` and `make test` set what they need by themselves.
";

const PRODUCTION: &str = "\
## What production refuses

With `APP_ENV=production`, which is the default, a process does not start unless these hold:
";

const BETWEEN_SETTINGS: &str = "\
## Rules between settings

These hold in development as well:
";

const ENV_INTRODUCTION: &str = "\
# Every setting of the service, for production. Copy this file, fill in what is required and uncomment
# what you want to change: a commented line shows the default. Each NAME may also be given as
# NAME_FILE, the path of a file that holds the value. `doctor` checks all of it and what it names.
# Times are 500ms, 30s, 15m, 24h, 14d, or plain seconds. Lists are separated by commas.
# Written by `make settings` from src/config/.
";

/// `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let sections = Settings::SECTIONS;
    let mut parts = vec![
        INTRODUCTION.to_owned(),
        format!("## Required\n\n{}", required_table(sections)),
    ];
    parts.extend(sections.iter().filter_map(markdown_section));
    let production = production_list(sections) + &rules::list(true);
    parts.push(format!("{PRODUCTION}\n{production}"));
    parts.push(format!("{BETWEEN_SETTINGS}\n{}", rules::list(false)));
    parts.join("\n")
}

/// `.env.production.example`.
#[must_use]
pub fn env_example() -> String {
    let mut parts = vec![ENV_INTRODUCTION.to_owned()];
    parts.extend(Settings::SECTIONS.iter().map(env_section));
    parts.join("\n")
}
