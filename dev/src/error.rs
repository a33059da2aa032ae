//! What can go wrong around a private server, said so that a newcomer can act on it.

use std::{io, path::Path};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a private server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("could not {doing}: {source}")]
    Io {
        /// The attempt, as a verb with its object.
        doing: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A program is not there and could not be installed.
    #[error("{0}")]
    Missing(String),
    /// A child ended although it should have served.
    #[error("{name} ended: {status}{}", tail(.log))]
    Died {
        /// Which child.
        name: String,
        /// How it ended.
        status: String,
        /// The last lines it wrote, where we hold its log.
        log: String,
    },
    /// A child lives but does not answer.
    #[error("{name} did not answer within {seconds} s{}", tail(.log))]
    Unresponsive {
        /// Which child.
        name: String,
        /// How long it was given.
        seconds: u64,
        /// The last lines it wrote, where we hold its log.
        log: String,
    },
    /// Another `run` serves this checkout.
    #[error("this checkout is already running{}", .0.as_ref().map_or(String::new(), |url| format!(": {url}")))]
    AlreadyRunning(Option<String>),
    /// The private database refused a statement.
    #[error("the private PostgreSQL refused: {0}")]
    Database(#[from] sqlx::Error),
    /// The migrations in the folder do not apply.
    #[error("a migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// An optional slice cannot be read or removed.
    #[error("{0}")]
    Slices(#[from] optional_slices::Error),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

fn tail(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("\n{log}")
    }
}

/// Says what was attempted when the operating system refuses.
pub trait Doing<T> {
    /// Names the attempt, as a verb with its object.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;

    /// Names the attempt and the path it was about.
    fn doing_to(self, what: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.doing(|| format!("{what} {}", path.display()))
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing: what(),
            source,
        })
    }
}
