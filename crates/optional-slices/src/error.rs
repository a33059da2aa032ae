//! Errors, each a sentence.

use std::io;
use std::path::Path;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing} {path}: {source}")]
    Io {
        doing: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("{path}:{line}: {reason}")]
    Definition {
        path: String,
        line: usize,
        reason: &'static str,
    },
    /// The text of an edit is not in its file exactly once.
    #[error("expected exactly once in {path}, found {count} times:\n{text}")]
    NotOnce {
        path: String,
        count: usize,
        text: String,
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
}
