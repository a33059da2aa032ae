//! States of files, and what clients see of them.

use object_store::Mismatch;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a file as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum FileStatus {
    /// Waits for the virus scanner. It cannot be downloaded yet.
    Scanning,
    /// Can be downloaded.
    Complete,
    /// The virus scanner has found something. The bytes are removed, and the file counts towards no limit.
    Infected,
}

/// State of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum State {
    /// The upload is not completed.
    Pending,
    /// Completed, and not passed by the virus scanner.
    Scanning,
    Complete,
    /// The object is removed.
    Infected,
    /// Completed, and the last sweep found no object.
    Lost,
    Deleted,
}

impl State {
    /// `None` where there is no file for clients.
    pub(super) const fn status(self) -> Option<FileStatus> {
        match self {
            Self::Scanning => Some(FileStatus::Scanning),
            Self::Complete => Some(FileStatus::Complete),
            Self::Infected => Some(FileStatus::Infected),
            Self::Pending | Self::Lost | Self::Deleted => None,
        }
    }
}

/// How the object of a file differs from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum Difference {
    Missing,
    Size,
    Hash,
}

impl From<Mismatch> for Difference {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Missing => Self::Missing,
            Mismatch::Size(_) => Self::Size,
            Mismatch::Hash => Self::Hash,
        }
    }
}
