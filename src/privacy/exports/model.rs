//! Exports, on the wire and as they are stored.

use chrono::{DateTime, Utc};
use crypto::TriedPassword;
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{self, ReauthProof};
use crate::ids::{ExportId, UserId};
use crate::mfa::{RecoveryCode, TotpCode};

/// State of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum ExportState {
    /// It is being made; an email says when it is ready.
    Pending,
    /// It can be downloaded.
    Ready,
    /// It could not be made.
    Failed,
}

/// Why an export could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum Failure {
    /// Without an object store an archive has at most 20 MiB.
    TooLarge,
}

/// An export of the user's data.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DataExport)]
pub(super) struct Export {
    /// The export's id.
    pub(super) id: ExportId,
    /// Its state.
    pub(super) state: ExportState,
    /// When it was asked for.
    pub(super) requested_at: DateTime<Utc>,
    /// Bytes of the archive, once it is ready.
    #[schema(example = 48_213)]
    pub(super) size: Option<i64>,
    /// When the archive is deleted.
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// Why it could not be made.
    pub(super) failure: Option<Failure>,
}

/// The export that was asked for last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LastDataExport)]
pub(super) struct LastExport {
    /// Null if none was asked for, or its archive is deleted.
    pub(super) export: Option<Export>,
}

/// Where the bytes of an archive are.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredArchive {
    pub(super) attempt: ArchiveAttempt,
    pub(super) parts: i32,
    pub(super) size: i64,
    pub(super) is_in_store: bool,
}

/// One attempt to write an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArchiveAttempt {
    pub(super) user_id: UserId,
    pub(super) export_id: ExportId,
    /// New for each attempt.
    pub(super) attempt: Uuid,
}

/// Parts and bytes that were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) parts: i32,
    pub(super) size: i64,
}

/// Whose data an archive has.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) user_id: UserId,
    pub(super) email: EmailAddress,
}

/// Request for an export, or for its download.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DataExportProof)]
pub(super) struct ExportProof {
    /// Your password.
    password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if you have a second factor.
    #[serde(default)]
    code: Option<TotpCode>,
    /// One of your recovery codes.
    #[serde(default)]
    recovery_code: Option<RecoveryCode>,
}

impl ExportProof {
    pub(super) fn into_proof(self) -> Result<ReauthProof, auth::Error> {
        ReauthProof::new("password", self.password, self.code, self.recovery_code)
    }
}
