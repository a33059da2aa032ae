//! Requests.

use chrono::{DateTime, Utc};
use http_toolkit::one_line_types;

use crate::cli::RequestKind;
use crate::ids::{DataRequestId, UserId};

one_line_types! {
    /// Where a request is kept, or how it was answered: 1 to 200 characters in one line.
    pub(super) struct Note(200);
}

impl RequestKind {
    /// Name in the database.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Rectification => "rectification",
            Self::Erasure => "erasure",
            Self::Restriction => "restriction",
            Self::Objection => "objection",
        }
    }
}

/// Request that is not closed.
#[derive(Clone, Debug)]
pub(super) struct OpenRequest {
    pub(super) id: DataRequestId,
    pub(super) user_id: Option<UserId>,
    pub(super) kind: String,
    pub(super) reference: String,
    pub(super) received_at: DateTime<Utc>,
}
