//! Subcommands and their options.

mod privacy;
mod release;
mod storage;

use std::net::IpAddr;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use crypto::Step;
use uuid::Uuid;

pub use privacy::{HoldOptions, NewRequestOptions, PersonalData, Privacy, RequestKind};
pub use release::{Release, ReleaseNote, ReleaseOutcome, SmokeOptions};
pub use storage::{Storage, VerifyOptions};

/// A SaaS backend: accounts, sessions and API keys over HTTP, and a worker for background jobs.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, after_help = CONFIGURATION)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const CONFIGURATION: &str = "Settings are environment variables; each can also be given as NAME_FILE, \
the path of a file that holds the value.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP and run background jobs until SIGTERM or Ctrl-C
    Serve {
        /// Migrate the database schema first (needs `DATABASE_MIGRATION_URL`)
        #[arg(long)]
        migrate: bool,
        /// Run no background jobs
        #[arg(long)]
        no_worker: bool,
    },
    /// Run background jobs, without HTTP, until SIGTERM or Ctrl-C
    Worker,
    /// Migrate the database schema and grant the runtime role its privileges
    ///
    /// Connects as the owner (`DATABASE_MIGRATION_URL`). Safe to run from any number of replicas at
    /// once, and to repeat after a failure. A migration whose objects were created by hand, exactly as it creates them, is
    /// recorded as applied; if they differ, the differences are printed and nothing is recorded.
    Migrate {
        /// Print what is pending and what would fail, and change nothing
        ///
        /// Exits with 1 when a migration would fail, with 3 when one takes away what the release before may use.
        #[arg(long)]
        check: bool,
    },
    /// Check the configuration and the services it names, and list every fault
    ///
    /// Connects to the database (and checks its clock, schema and privileges), Redis, the object store and the mail
    /// server.
    Doctor,
    /// Check whether the service in this container is ready: exits with 0 or 1
    Healthcheck,
    /// List the settings in effect and where each is from; secrets are masked
    Config(Page),
    /// Print the OpenAPI document as JSON; needs no configuration
    Openapi,
    /// Generate and rotate secrets of the configuration
    #[command(subcommand)]
    Keys(Keys),
    /// Manage accounts
    #[command(subcommand)]
    Users(Users),
    /// Repair what was missed of Stripe
    #[command(subcommand)]
    Billing(Billing),
    /// Manage suppressed addresses, and send a usage summary
    #[command(subcommand)]
    Emails(Emails),
    /// Prepare the object store, copy it, and compare files with their objects
    #[command(subcommand)]
    Storage(Storage),
    /// Report what is kept about people
    #[command(subcommand)]
    Privacy(Privacy),
    /// Check a new release, and note what became of it: for deploy/bin/release
    #[command(subcommand)]
    Release(Release),
}

#[derive(Debug, Subcommand)]
pub enum Emails {
    #[command(flatten)]
    Suppressions(Suppressions),
    /// Send the usage summary of the last month to a user who has asked for it
    ///
    /// Also if it was sent before. Exits with 5 when the address has no account, and with 1 when the user has not asked for
    /// it or the address is suppressed.
    Summary {
        /// The account's address
        #[arg(long)]
        email: String,
    },
}

/// Commands on suppressed addresses.
#[derive(Debug, Subcommand)]
pub enum Suppressions {
    /// Suppress an address that emails have bounced from, or whose owner complained of them
    ///
    /// A suppressed address gets no optional emails, and after a bounce nothing but emails about signing in and security. A
    /// complaint also disables what its user has asked for. Can be repeated.
    Suppress {
        /// The address
        #[arg(long)]
        email: String,
        /// The reason
        #[arg(long, value_enum)]
        reason: Suppression,
    },
    /// Remove an address from the suppression list
    Unsuppress {
        /// The address
        #[arg(long)]
        email: String,
    },
    /// Print whether an address is suppressed, and the optional emails of its user
    Show {
        /// The address
        #[arg(long)]
        email: String,
    },
}

/// Why an address is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suppression {
    /// The mailbox does not exist, or does not accept emails for good
    Bounce,
    /// The recipient reported an email as spam
    Complaint,
    /// Another reason
    Manual,
}

/// What to print of the settings.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Page {
    /// Print the reference page, `docs/configuration.md`; needs no configuration
    #[arg(long)]
    pub markdown: bool,
    /// Print the example, `.env.production.example`; needs no configuration
    #[arg(long)]
    pub env: bool,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Print new random secrets, one variable a line; needs no configuration
    Generate,
    /// List the keys of a ring by their ids, and the use of each; never a key
    ///
    /// Of the encryption keys also how many rows of each column are encrypted under which, read from the database.
    Status {
        /// The key ring
        #[arg(long, value_enum, default_value_t = Ring::Signing)]
        ring: Ring,
    },
    /// Print a key ring after the next step of its rotation, and what to do then
    ///
    /// Reads the current ring from the configuration and changes nothing: set the new value on
    /// every replica before the next step. Replicas before and after a step accept each other's
    /// tokens, so that a rolling restart refuses nobody. An encryption key is dropped only if no row
    /// of the database needs it.
    Rotate(Rotation),
    /// Re-encrypt stored values under the first of the encryption keys
    ///
    /// Runs beside the service and can be interrupted: the next run goes on. Exits with 1 when a value
    /// cannot be decrypted, or is still under another key at the end.
    Reseal,
}

#[derive(Debug, Args)]
pub struct Rotation {
    /// The step
    #[arg(long, value_enum)]
    pub step: Step,
    /// The key ring
    #[arg(long, value_enum, default_value_t = Ring::Signing)]
    pub ring: Ring,
    /// Write the value to this new file with mode 0600 instead of printing it
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A list of keys, of which the first is used and all are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// `JWT_SIGNING_KEYS`: signs access tokens
    Signing,
    /// `ENCRYPTION_KEYS`: encrypts secrets in the database
    Encryption,
    /// `TOKEN_SECRET`: authenticates refresh tokens, CSRF tokens and hashed limit keys
    Token,
}

#[derive(Debug, Subcommand)]
pub enum Users {
    /// Create an account; its password is read from the first line of standard input
    Create(NewAccount),
    /// Create an administrator; the password is read from the first line of standard input
    ///
    /// The address counts as verified. Exits with 3 when it has an account already, and with 4
    /// when that account cannot become an administrator.
    CreateAdmin(NewAdmin),
    /// Create the synthetic account that smoke checks sign in as; the password is read from standard input
    ///
    /// Its address is smoke-check@synthetic.invalid. It can read and not change anything, is not counted among the accounts,
    /// and gets no emails. Succeeds without change when it exists.
    CreateSynthetic,
    /// Remove a lost second factor and its recovery codes
    ///
    /// Verify the owner's identity first. All sessions of the account end, and the owner is notified
    /// by email. Exits with 5 when the address has no account, and with 6 when the account
    /// has no second factor.
    RemoveSecondFactor {
        /// The account's address
        #[arg(long)]
        email: String,
    },
    /// End the sessions of everybody, and print how many
    ///
    /// All replicas refuse the access tokens within a second, and each refresh token once its session has ended. API keys stay. It
    /// waits for `HTTP_REQUEST_TIMEOUT`, since requests may be signing in, and can be repeated when it was interrupted.
    SignOutEverybody,
    #[command(flatten)]
    PersonalData(PersonalData),
    /// List or clear lockouts after too many failed attempts to sign in
    #[command(subcommand)]
    Lockouts(Lockouts),
}

#[derive(Debug, Subcommand)]
pub enum Billing {
    /// Compare the subscriptions of all accounts with those at Stripe, and list the differences
    ///
    /// Also finds what no webhook has reported. Exits with 1 when an account differs or cannot be compared.
    Reconcile {
        /// Store what is true at Stripe
        #[arg(long)]
        apply: bool,
        /// Only this account
        #[arg(long)]
        account: Option<Uuid>,
    },
    /// Process webhook events again: those that were never processed, or all since a time
    Replay {
        /// Time in RFC 3339, such as 2026-11-28T09:00:00Z
        #[arg(long)]
        since: Option<DateTime<Utc>>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Lockouts {
    /// Print who is locked out of sign-in now, one a line: until when, then the account or client
    ///
    /// Without Redis the lines come from the audit log, also for lockouts that have ended early.
    List,
    /// Clear a lockout and the failed attempts behind it
    ///
    /// Exits with 5 when the address has no account, and with 7 when Redis is not in use or does not
    /// respond: each process then counts by itself.
    Clear(LockoutSubject),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct LockoutSubject {
    /// Address of the account
    #[arg(long)]
    pub email: Option<String>,
    /// IP address of the client
    #[arg(long)]
    pub client: Option<IpAddr>,
}

#[derive(Debug, Args)]
pub struct NewAdmin {
    /// The address to sign in with
    #[arg(long)]
    pub email: String,
    /// Given name
    #[arg(long)]
    pub first_name: Option<String>,
    /// Family name
    #[arg(long)]
    pub last_name: Option<String>,
    /// Give the existing account of the address the role; its password stays, and none is read
    #[arg(long)]
    pub promote: bool,
}

#[derive(Debug, Args)]
pub struct NewAccount {
    /// The address to sign in with
    #[arg(long)]
    pub email: String,
    /// Mark the address as verified, and send no email
    #[arg(long)]
    pub verified: bool,
    /// Make the account an administrator
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
