//! Makes a product of another name from this repository: `make new`. A product takes later versions by `make update`.

mod answers;
mod ask;
mod create;
mod edits;
mod error;
mod git;
mod names;
mod render;
mod update;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::{Error, Result};

/// Makes products from this repository, and updates them.
#[derive(Debug, Parser)]
#[command(name = "groundwork-generate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a product: `NAME` and `DEST` are environment variables, and so are the other answers
    ///
    /// `DESCRIPTION`, `DOMAIN`, `SENDER`, `LICENCE`, `AUTHOR` and `WITHOUT` (slices to leave out) are asked for where a terminal can answer; elsewhere those that
    /// are absent have the values that the questions propose.
    New,
    /// Merge the committed state of this repository into a product, on a branch of its own
    Update {
        /// Directory of the product
        #[arg(long)]
        product: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::New => create::new_product(),
        Command::Update { product } => update::update(&product),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for the person at the terminal.
#[expect(clippy::print_stderr, reason = "a command speaks to its caller")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Value of an environment variable; an empty one is absent.
#[expect(
    clippy::disallowed_methods,
    reason = "make hands its arguments over by the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Root of the repository, which is the working directory: a binary may have been built in another copy.
fn root() -> Result<PathBuf> {
    let root = std::env::current_dir().and_then(|path| path.canonicalize());
    let root = root.map_err(|error| Error::io("find", Path::new("."), error))?;
    if root.join("generate/Cargo.toml").is_file() {
        Ok(root)
    } else {
        Err(Error::refused("run it in the root of the template"))
    }
}
