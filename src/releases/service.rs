//! The subcommands of `groundwork release`.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;

use crypto::read_password;

use super::{note, smoke};
use crate::cli::Release;
use crate::config::{self, Config};

/// Runs a subcommand and returns what it prints. A note needs the settings of telemetry alone, since a release may have
/// been refused for another one.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub async fn run(
    command: Release,
    variables: &HashMap<String, String>,
    input: impl BufRead,
) -> Result<String, Box<dyn Error>> {
    match command {
        Release::Smoke(options) => {
            let config = Config::read(variables)?;
            let password = read_password(input)?.into();
            let passed = smoke::check(&config, options.url, &options.version, &password).await?;
            Ok(format!("passed: {}", passed.join(", ")))
        }
        Release::Note(release) => {
            let _log = telemetry::start(&config::read_telemetry(variables)?);
            note::send(&release).await?;
            Ok(note::sentence(&release))
        }
    }
}
