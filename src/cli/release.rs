//! Subcommands of `groundwork release`.

use clap::{Args, Subcommand, ValueEnum};
use url::Url;

#[derive(Debug, Subcommand)]
pub enum Release {
    /// Check a replica before it gets traffic: readiness, version, a sign-in, a signed-in read, no documentation
    ///
    /// Signs in as the synthetic account (`users create-synthetic`), whose password is read from the first line of standard
    /// input. Must run at an address of `TRUSTED_PROXIES`, unless `PUBLIC_URL` is plain http. Exits with 1 at the first check
    /// that fails.
    Smoke(SmokeOptions),
    /// Report what became of a release to Sentry and, with `--alertmanager`, to the receivers of alerts
    Note(ReleaseNote),
}

#[derive(Debug, Args)]
pub struct SmokeOptions {
    /// Address of the replica, such as <http://172.31.240.21:8000>
    #[arg(long)]
    pub url: Url,
    /// Version that the replica must have
    #[arg(long)]
    pub version: String,
}

#[derive(Debug, Args)]
pub struct ReleaseNote {
    /// Outcome of the release
    #[arg(long, value_enum)]
    pub outcome: ReleaseOutcome,
    /// Version of the release
    #[arg(long)]
    pub release: String,
    /// Version of the release before
    #[arg(long)]
    pub before: Option<String>,
    /// Why it was refused or rolled back
    #[arg(long)]
    pub reason: Option<String>,
    /// Address of Alertmanager, such as <http://alertmanager:9093>
    #[arg(long)]
    pub alertmanager: Option<Url>,
}

/// Outcome of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReleaseOutcome {
    /// All users are on it
    Completed,
    /// No user was on it
    Refused,
    /// All users are back on the release before
    RolledBack,
}

impl ReleaseOutcome {
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Completed)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
        }
    }
}
