//! The commands of the one binary.

use clap::{Args, Parser, Subcommand};

/// A SaaS backend: accounts, sessions and letters over HTTP, and the worker behind them.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, after_help = CONFIGURATION)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const CONFIGURATION: &str = "Settings are environment variables; each can also be given as NAME_FILE, \
the path of a file that holds the value.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP and run background jobs until SIGTERM or Ctrl-C
    Serve {
        /// Bring the database schema up to date first (needs `DATABASE_MIGRATION_URL`)
        #[arg(long)]
        migrate: bool,
        /// Leave background jobs to other processes
        #[arg(long)]
        no_worker: bool,
    },
    /// Run background jobs, without HTTP, until SIGTERM or Ctrl-C
    Worker,
    /// Bring the database schema up to date and give the runtime role its rights
    ///
    /// Connects as the owner (`DATABASE_MIGRATION_URL`). Safe to run from any number of replicas at
    /// once, and again after a failure.
    Migrate,
    /// Check the configuration and everything it names, and list every fault
    ///
    /// Asks the database (also for its clock, schema and our rights), Redis and the mail server.
    Doctor,
    /// Ask the service in this container whether it is ready: exits with 0 or 1
    Healthcheck,
    /// Print the OpenAPI document as JSON; needs no configuration
    Openapi,
    /// Make secrets for the configuration
    #[command(subcommand)]
    Keys(Keys),
    /// Look after accounts
    #[command(subcommand)]
    Users(Users),
}

/// Secrets for the configuration.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Print new random secrets, one variable a line; needs no configuration
    Generate,
}

/// Accounts.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Make an account; its password is read from the first line of standard input
    Create(NewAccount),
}

/// An account to make.
#[derive(Debug, Args)]
pub struct NewAccount {
    /// The address to sign in with
    #[arg(long)]
    pub email: String,
    /// Take the address as verified, and send no letter
    #[arg(long)]
    pub verified: bool,
    /// Let the account look after other people's accounts
    #[arg(long, requires = "verified")]
    pub admin: bool,
    /// Given name
    #[arg(long)]
    pub first_name: Option<String>,
    /// Family name
    #[arg(long)]
    pub last_name: Option<String>,
    /// Succeed without change when the address has an account already
    #[arg(long)]
    pub if_missing: bool,
}
