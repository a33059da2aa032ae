//! Why a call failed, and whether it can have had an effect.

use std::time::Duration;

use serde::Deserialize;

/// A call to Stripe failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Stripe refused the call, which has no effect.
    #[error("Stripe refused the call: {0}")]
    Refused(Refusal),
    /// Stripe cannot take the call now, which has no effect: too many calls, or no connection.
    #[error("Stripe cannot be called: {reason}")]
    Unavailable {
        reason: &'static str,
        /// As Stripe asks for.
        retry_after: Option<Duration>,
    },
    /// The call may have had its effect: no response in time, a connection that was cut, or an error of the server.
    #[error("the outcome of a call to Stripe is unknown: {0}")]
    Unknown(&'static str),
    /// The call had its effect; the response is not what the API version promises.
    #[error("a response of Stripe cannot be read")]
    Malformed,
}

/// Details of a refused call, without Stripe's message, since it can repeat personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Such as `invalid_request_error`.
    pub kind: String,
    /// Such as `resource_missing`.
    pub code: Option<String>,
    /// Parameter that is wrong.
    pub param: Option<String>,
    /// Stripe's id of the call.
    pub request_id: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}, {}", self.status, self.kind)?;
        for (name, value) in [
            ("code", &self.code),
            ("parameter", &self.param),
            ("request", &self.request_id),
        ] {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

/// Reason of [`CallError::Unknown`] after status 500.
pub(crate) const SERVER_ERROR: &str = "an error of the server";

impl CallError {
    /// True for an error that Stripe can repeat to every call under the same key for a day.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Unknown(reason) => *reason == SERVER_ERROR,
            Self::Unavailable { .. } | Self::Malformed => false,
        }
    }

    /// True if the object that the call names does not exist at Stripe.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code.as_deref() == Some("resource_missing"))
    }

    /// True if the object that this parameter names does not exist at Stripe.
    #[must_use]
    pub fn is_missing_param(&self, name: &str) -> bool {
        self.is_missing()
            && matches!(self, Self::Refused(refusal) if refusal.param.as_deref() == Some(name))
    }

    /// Code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.code.as_deref(),
            _ => None,
        }
    }
}

/// Stripe's error envelope.
#[derive(Deserialize)]
struct Envelope {
    error: Details,
}

#[derive(Deserialize)]
struct Details {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    param: Option<String>,
}

impl Refusal {
    /// `None` if the body is no error envelope, such as the page of a proxy.
    pub(crate) fn parse(status: u16, body: &[u8], request_id: Option<String>) -> Option<Self> {
        let Envelope { error } = serde_json::from_slice(body).ok()?;
        Some(Self {
            status,
            kind: error.kind,
            code: error.code,
            param: error.param,
            request_id,
        })
    }
}
