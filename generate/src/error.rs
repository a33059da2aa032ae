//! Errors, each a sentence for the person at the terminal.

use std::io;
use std::path::Path;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An answer or the state of a directory is refused.
    #[error("{0}")]
    Refused(String),
    #[error("cannot {doing} {path}: {source}")]
    Io {
        doing: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("`{command}` failed: {reason}")]
    Program { command: String, reason: String },
    #[error("the text of {path} cannot be written: {source}")]
    Text {
        path: &'static str,
        source: minijinja::Error,
    },
    #[error("an optional slice cannot be removed: {0}")]
    Slices(#[from] optional_slices::Error),
    #[error("{path} is not what this expects: {expected} is not in it exactly once")]
    Stale {
        path: &'static str,
        expected: &'static str,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused(sentence.into())
    }
}
