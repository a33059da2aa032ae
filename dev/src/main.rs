//! `make run`, `make test` and what belongs to them: the service together with its outside world.

mod commands;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Starts the service together with a private PostgreSQL, a mail inbox and whatever else it needs.
///
/// Nothing of the system is touched: servers are private, listen on 127.0.0.1 only, and end with the
/// command that started them. Missing programs are installed with apt-get or brew. Run it from the
/// checkout; `make` has a target for each command.
#[derive(Parser)]
#[command(name = "groundwork-dev", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service with everything around it until Ctrl-C
    ///
    /// Starts PostgreSQL, the mail inbox and a fake Stripe, migrates, serves, creates a demo user and an admin, and
    /// prints where everything is; `.dev/urls.json` says the same. Data, ports and secrets stay in
    /// `.dev/`. Redis is used when `REDIS_URL` is set or one answers at 127.0.0.1:6379. With your own
    /// `STRIPE_SECRET_KEY` no fake starts and Stripe is called.
    Run,
    /// Runs a fake Stripe with the plans of the service until Ctrl-C; no money moves
    Stripe(Box<commands::StripeOptions>),
    /// Runs an S3 server until Ctrl-C, and prints the settings of a service that uses it
    S3(commands::S3Options),
    /// Runs every test on a PostgreSQL and a Redis that live as long as the tests
    ///
    /// Uses cargo-nextest where it is installed, else `cargo test`, and ends with the runner's code. With `--pooler`
    /// the service reaches its databases through `PgBouncer` in transaction mode.
    Test {
        /// `--pooler`, and what is handed to the runner: names of tests, or its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Runs a command with a throw-away database in `DATABASE_URL` and `DATABASE_MIGRATION_URL`
    ///
    /// `groundwork-dev db -- cargo check`. `DATABASE_URL` names the service's own role, or the owner when
    /// the service's migration did not make that role.
    Db {
        /// Leave the database empty instead of migrating it with the service's binary
        #[arg(long, conflicts_with = "from_folder")]
        empty: bool,
        /// Apply the files in `migrations/` as they are, which needs no built service
        #[arg(long)]
        from_folder: bool,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Writes what the checked queries know about the database to `.sqlx/`
    ///
    /// Applies `migrations/` to a throw-away database and compiles the service against it.
    Sqlx {
        /// Change nothing; fail when `.sqlx/` is not what it should be
        #[arg(long)]
        check: bool,
    },
    /// Writes a slice of the product whose rows belong to an account
    ///
    /// A table, its migrations, CRUD routes, a scope of API keys, permissions, audit events and tests. Uncommitted changes are
    /// kept. Nothing is written if the name is refused.
    Slice(commands::SliceOptions),
    /// Runs the service with a fault, as the entry point of an image for tests of releases
    BadRelease(commands::BadReleaseOptions),
    /// Sends requests of signed-in clients over kept connections until SIGTERM, and prints what failed
    Load(commands::LoadOptions),
    /// Tests backups and restores with the scripts of production, on servers of its own
    ///
    /// Installs pgBackRest where it is missing, and exits with 69 where it cannot.
    Restore {
        /// `--whole` for the long form
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Removes optional slices from the sources of this checkout
    ///
    /// The code goes at once. The tables stay, with their lines in the inventory of data, until `--drop-tables` adds a migration
    /// that drops them: a release that is running may use them. Nothing is changed if a file is not as expected.
    Without(commands::WithoutOptions),
    /// Removes the data, secrets and settings in `.dev/`
    Clean,
}

// One thread: Linux ends a child when the thread that started it ends, and this one is the last.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run => commands::run().await,
        Command::Stripe(options) => commands::stripe(*options).await,
        Command::S3(options) => commands::s3(options).await,
        Command::Test { args } => commands::test(args).await,
        Command::Db {
            empty,
            from_folder,
            command,
        } => commands::db(empty, from_folder, command).await,
        Command::Sqlx { check } => commands::sqlx(check).await,
        Command::Slice(options) => commands::slice(&options),
        Command::BadRelease(options) => commands::bad_release(options).await,
        Command::Load(options) => commands::load(options).await,
        Command::Restore { args } => commands::restore(args).await,
        Command::Without(options) => commands::without(&options),
        Command::Clean => commands::clean(),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}
