//! Files, uploads, and what each may be.

use std::fmt;

use chrono::{DateTime, Utc};
use file_types::FileType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::Error;
use super::key::ObjectKey;
use super::name::FileName;
use super::state::{FileStatus, State};
use crate::config::{FileLimits, FilesConfig};
use crate::ids::{AccountId, FileId, UserId};

/// Size of a file in bytes: at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "u64")]
#[schema(value_type = u64, minimum = 1, example = 48_213)]
pub(super) struct FileSize(i64);

impl FileSize {
    pub(super) const fn get(self) -> i64 {
        self.0
    }

    pub(super) const fn bytes(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// Checks that the plan allows a file of this size.
    pub(super) const fn check(self, limits: &FileLimits) -> Result<(), Error> {
        if self.bytes() > limits.size {
            return Err(Error::TooLarge(limits.size));
        }
        Ok(())
    }
}

/// Decimal digits, as in a form.
impl TryFrom<String> for FileSize {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let is_number = !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit());
        let size = raw.parse::<u64>().ok().filter(|_| is_number);
        size.ok_or("must be a number of bytes")?.try_into()
    }
}

impl TryFrom<u64> for FileSize {
    type Error = &'static str;

    fn try_from(raw: u64) -> Result<Self, &'static str> {
        i64::try_from(raw)
            .ok()
            .filter(|size| *size > 0)
            .map(Self)
            .ok_or("must be at least 1")
    }
}

/// SHA-256 hash in 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$",
    example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(super) struct Sha256([u8; 32]);

impl Sha256 {
    pub(super) const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn hex(self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.hex()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let pairs = raw.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .filter(|_| raw.len() == 64)
            .map(Self)
            .ok_or("must be 64 lower-case hexadecimal digits")
    }
}

/// Request to upload a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFile {
    /// Name for lists and downloads.
    pub(super) name: FileName,
    /// Size in bytes.
    pub(super) size: FileSize,
    /// Media type without parameters. The first bytes of the file must be of this type.
    #[schema(example = "application/pdf", max_length = 127)]
    pub(super) content_type: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub(super) sha256: Sha256,
}

impl NewFile {
    /// Checks the type by the settings and the size by the plan; returns the file to reserve.
    pub(super) fn check(
        self,
        config: &FilesConfig,
        limits: &FileLimits,
    ) -> Result<Announced, Error> {
        let file_type = FileType::named(&self.content_type);
        let file_type = allowed(file_type, config)?;
        self.size.check(limits)?;
        Ok(Announced {
            name: self.name,
            size: self.size,
            file_type,
            sha256: Some(self.sha256),
        })
    }
}

/// Returns the type if the settings allow it.
pub(super) fn allowed(
    file_type: Option<FileType>,
    config: &FilesConfig,
) -> Result<FileType, Error> {
    file_type
        .filter(|it| config.types.contains(it))
        .ok_or(Error::TypeNotAllowed)
}

/// File that an upload is begun for.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) name: FileName,
    pub(super) size: FileSize,
    pub(super) file_type: FileType,
    /// `None` of bytes that the service hashes as they arrive.
    pub(super) sha256: Option<Sha256>,
}

/// Form with a file. The fields come before the file, which is the last part.
#[derive(ToSchema)]
#[schema(as = UploadForm)]
#[expect(dead_code, reason = "the schema of a body that is read part by part")]
pub(super) struct UploadForm {
    /// Name for lists and downloads. By default that of the part `file`.
    name: Option<FileName>,
    /// SHA-256 that the bytes must have, in hexadecimal.
    sha256: Option<Sha256>,
    /// Size of the file in bytes.
    size: FileSize,
    /// The bytes. The type is decided by the first of them; the part's `Content-Type` decides between `text/plain` and
    /// `text/csv` alone.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// File of an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct File {
    /// Id of the file.
    pub(super) id: FileId,
    /// State of the virus scan: only a complete file can be downloaded.
    #[schema(example = "complete")]
    pub(super) status: FileStatus,
    /// Name.
    pub(super) name: FileName,
    /// Size in bytes.
    #[schema(example = 48_213)]
    pub(super) size: i64,
    /// Media type.
    #[schema(example = "application/pdf")]
    pub(super) content_type: String,
    /// SHA-256 of the bytes.
    pub(super) sha256: Sha256,
    /// The user who uploaded it.
    pub(super) uploaded_by: UserId,
    /// Time at which the upload was begun.
    pub(super) created_at: DateTime<Utc>,
}

/// Upload that has begun. The file exists once it is completed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartedUpload {
    /// Id of the file.
    pub(super) id: FileId,
    /// Request that uploads the bytes.
    pub(super) upload: UploadRequest,
}

/// Request to the object store. It is signed for the size, the type and the hash, and needs no other credential.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadRequest {
    /// Method.
    #[schema(example = "PUT")]
    pub(super) method: &'static str,
    /// URL, a secret of the uploading client.
    #[schema(example = "https://files.example.com/acme/staging/…?X-Amz-Signature=…")]
    pub(super) url: String,
    /// Headers that the request must have, besides the `Content-Length` that clients add.
    #[schema(value_type = std::collections::BTreeMap<String, String>,
        example = json!({ "content-type": "application/pdf",
            "x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=" }))]
    pub(super) headers: std::collections::BTreeMap<String, String>,
    /// When the upload can no longer be sent or completed.
    pub(super) expires_at: DateTime<Utc>,
}

impl fmt::Debug for UploadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadRequest").finish_non_exhaustive()
    }
}

/// Row of a file in any state.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: FileId,
    pub(super) name: FileName,
    pub(super) size: i64,
    pub(super) content_type: String,
    /// `None` while an upload through the service is received.
    pub(super) sha256: Option<Sha256>,
    pub(super) uploaded_by: UserId,
    pub(super) created_at: DateTime<Utc>,
    pub(super) state: State,
    /// `None` while it is pending.
    pub(super) object_id: Option<Uuid>,
    pub(super) upload_expires_at: DateTime<Utc>,
}

impl Row {
    /// The file for clients. `None` where there is none.
    pub(super) fn into_file(self) -> Option<File> {
        let status = self.state.status()?;
        self.with_status(status)
    }

    /// `None` while an upload through the service is received.
    pub(super) fn with_status(self, status: FileStatus) -> Option<File> {
        Some(File {
            id: self.id,
            status,
            name: self.name,
            size: self.size,
            content_type: self.content_type,
            sha256: self.sha256?,
            uploaded_by: self.uploaded_by,
            created_at: self.created_at,
        })
    }

    /// The object of a completed file.
    pub(super) fn object(&self, account_id: AccountId) -> Option<ObjectKey> {
        Some(ObjectKey {
            account_id,
            id: self.id,
            object_id: self.object_id?,
        })
    }
}

/// Files and bytes of an account, uploads in progress included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) count: i64,
    pub(super) bytes: i64,
}

impl Stored {
    /// Checks that one more file of this size is within the limits.
    pub(super) fn check(self, size: i64, limits: &FileLimits) -> Result<(), Error> {
        if let Some(most) = limits.count
            && self.count >= i64::from(most)
        {
            return Err(Error::TooMany(most));
        }
        let bytes = self.bytes.saturating_add(size).unsigned_abs();
        if let Some(most) = limits.bytes
            && bytes > most
        {
            return Err(Error::Full(most));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_64_digits() {
        let hex = "00".repeat(31) + "a9";
        let hash = Sha256::try_from(hex.clone()).expect("it is good");
        assert_eq!(hash.hex(), hex);
        for bad in [
            "",
            &"A9".repeat(32),
            &"g0".repeat(32),
            &"00".repeat(33),
            &"0".repeat(63),
        ] {
            assert!(Sha256::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
