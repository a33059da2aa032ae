//! Faults of the S3 server.

use std::path::Path;

use axum::{
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Name of a file in the server's directory: while it is there, nothing can be written, as if the disk were full.
pub const FULL: &str = "full";

/// A call without a response: the next one of a method whose path has this part.
#[derive(Clone, Debug)]
pub struct S3Hang {
    pub method: Method,
    pub path: String,
    pub effect: S3Effect,
}

/// A fault of the next call of a method whose path has this part.
#[derive(Clone, Debug)]
pub struct S3Fault {
    pub method: Method,
    pub path: String,
    pub effect: S3Effect,
    pub status: StatusCode,
}

/// Effect of a call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Effect {
    None,
    Made,
}

pub(super) fn is_full(directory: &Path, method: &Method) -> bool {
    matches!(method, &Method::PUT | &Method::POST) && directory.join(FULL).is_file()
}

/// Response of `MinIO` and others whose disks are full.
pub(super) fn refuse_storage() -> Response {
    let body = "<?xml version=\"1.0\"?><Error><Code>XMinioStorageFull</Code></Error>";
    let kind = [(header::CONTENT_TYPE, "application/xml")];
    (StatusCode::INSUFFICIENT_STORAGE, kind, body).into_response()
}
