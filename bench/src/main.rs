//! `make bench`: what the service costs beside a bare one. Both are built for release and share the
//! machine with their database, Redis and the load, so only the ratios of one run mean anything. `make load-test` is beside it.

mod argon;
mod bare;
mod bare_files;
mod billing;
mod files;
mod load;
mod load_test;
mod ours;
mod report;
mod scenario;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use groundwork_dev::Result;

use crate::scenario::Scenario;

/// Measures the service beside a bare one.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Seconds that each round of load lasts
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Sign-ins before the memory is read again
    #[arg(long, default_value_t = 5_000)]
    sign_ins: u32,
    /// Measure nothing but these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::ALL)]
    only: Vec<Scenario>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as the bare service; the measurement starts this itself
    Bare {
        /// Where to listen
        addr: SocketAddr,
        /// The database with the accounts
        database_url: String,
        /// The fake Stripe
        stripe_url: String,
        /// The object store
        store_url: String,
    },
    /// Load the service as real users do, and judge its latency
    ///
    /// Exits with 1 if the objective was missed, and with 2 if nothing was measured.
    LoadTest(load_test::Options),
    /// Serve as the object store of a load test; the test starts this itself
    ObjectStore {
        /// Where to listen
        addr: SocketAddr,
        /// Directory of the buckets
        directory: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::LoadTest(options)) => return load_test::run(options).await,
        Some(Command::ObjectStore { addr, directory }) => {
            load_test::serve_object_store(addr, &directory).await
        }
        Some(Command::Bare {
            addr,
            database_url,
            stripe_url,
            store_url,
        }) => bare::serve(addr, &database_url, &stripe_url, &store_url).await,
        None => measure(&cli).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain("bench", &error);
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> Result<()> {
    let world = world::World::build().await?;
    let findings = world.measure(&cli.only, cli.seconds, cli.sign_ins).await;
    world.stop().await;
    report::print(&findings?);
    Ok(())
}
