//! Why a call failed.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A call to the store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, no response in time, or an error of the server. A call that changes something may have had its effect.
    #[error("the object store does not respond: {0}")]
    Unavailable(&'static str),
    #[error("the certificate of the object store is not from a known authority")]
    Untrusted,
    /// The store refused the call: its settings are wrong, or the store lacks a feature.
    #[error("the object store refused a call: status {status}, {code}")]
    Refused { status: u16, code: String },
    /// A response that S3 does not promise.
    #[error("a response of the object store cannot be read: {0}")]
    Malformed(&'static str),
}

/// How a call ended that did not succeed.
pub(crate) enum Failed {
    /// There is no such object.
    Missing,
    Error(StoreError),
}

impl<E> From<SdkError<E, HttpResponse>> for Failed
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        tracing::debug!(error = %DisplayErrorContext(&error), "a call to the object store failed");
        Self::Error(match &error {
            SdkError::ServiceError(refused) => {
                let status = refused.raw().status().as_u16();
                let code = refused.err().code();
                match (status, code) {
                    // A HEAD has no body that could name what is missing.
                    (404, None | Some("NoSuchKey" | "NotFound")) => return Self::Missing,
                    (429 | 500.., _) => StoreError::Unavailable("an error of the server"),
                    _ => StoreError::Refused {
                        status,
                        code: code.unwrap_or("no code").to_owned(),
                    },
                }
            }
            SdkError::TimeoutError(_) => StoreError::Unavailable("no response in time"),
            SdkError::DispatchFailure(_) if has_untrusted_certificate(&error) => {
                StoreError::Untrusted
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                StoreError::Unavailable("no response in time")
            }
            SdkError::DispatchFailure(failure) if failure.is_io() => {
                StoreError::Unavailable("no connection")
            }
            SdkError::ConstructionFailure(_) => StoreError::Unavailable("no credentials"),
            _ => StoreError::Unavailable("no response"),
        })
    }
}

/// Reads the text: the error's own type is not reachable through those of the SDK.
fn has_untrusted_certificate(error: &(impl std::error::Error + 'static)) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        next = error.source();
    }
    false
}
