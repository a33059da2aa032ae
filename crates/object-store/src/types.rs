//! Arguments and results of calls.

use std::fmt;
use std::time::SystemTime;

pub use aws_sdk_s3::primitives::SdkBody as Body;
use bytes::Bytes;

/// Properties that a presigned upload is signed for.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    /// Bytes.
    pub size: u64,
    pub content_type: &'a str,
    pub sha256: &'a [u8; 32],
}

/// A request that needs no other credential.
#[derive(Clone)]
pub struct Presigned {
    pub url: String,
    /// Headers that are signed: name in lower case, value.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// As the store has verified it at the upload; `None` if it keeps none.
    pub sha256: Option<[u8; 32]>,
}

/// Hash and first bytes of an object.
#[derive(Clone, Debug)]
pub struct Hashed {
    pub sha256: [u8; 32],
    pub start: Bytes,
}

/// Object, or a range of it, that is being read.
pub struct Download {
    pub body: Body,
    /// Bytes of the body.
    pub length: u64,
    /// Of a range: `bytes 0-99/1000`.
    pub content_range: Option<String>,
    pub content_type: Option<String>,
}

/// Object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Of objects written by one PUT mostly the MD5 hash. Stores need not agree.
    pub etag: Option<String>,
    pub modified_at: SystemTime,
}

/// Objects in the order of their keys.
#[derive(Clone, Debug, Default)]
pub struct ListedPage {
    pub objects: Vec<Listed>,
    /// `None` on the last page.
    pub next: Option<String>,
}

impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presigned").finish_non_exhaustive()
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
