//! Error codes.

use axum::http::StatusCode;

/// Error code of a problem: a stable name that clients match on, its HTTP status and its title. [`problem_code!`]
/// makes one. It is a pointer, so that `Result<T, Problem>` stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemCode(pub &'static Definition);

/// Parts of a [`ProblemCode`].
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Stable name in snake case.
    pub name: &'static str,
    /// Title for people.
    pub title: &'static str,
}

/// Error code of an HTTP status, a stable name and a title.
#[macro_export]
macro_rules! problem_code {
    ($status:literal, $name:literal, $title:literal) => {
        $crate::ProblemCode(&$crate::Definition {
            status: $status,
            name: $name,
            title: $title,
        })
    };
}

impl ProblemCode {
    /// HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Stable name in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Title for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.0.title
    }
}

macro_rules! codes {
    ($($ident:ident $status:literal $name:literal $title:literal)+) => {
        /// Codes that the toolkit itself responds with.
        impl ProblemCode {
            $(#[doc = $title] pub const $ident: Self = problem_code!($status, $name, $title);)+
        }
    };
}

codes! {
    BAD_REQUEST            400 "bad_request"            "The request is malformed."
    UNAUTHENTICATED        401 "unauthenticated"        "A valid sign-in is required."
    FORBIDDEN              403 "forbidden"              "You do not have permission."
    ACCESS_DENIED          403 "access_denied"          "Access from your network is denied."
    INSUFFICIENT_SCOPE     403 "insufficient_scope"     "The API key lacks the required scope."
    HTTPS_REQUIRED         403 "https_required"         "HTTPS is required."
    NOT_FOUND              404 "not_found"              "Not found."
    METHOD_NOT_ALLOWED     405 "method_not_allowed"     "Method not allowed."
    REQUEST_TIMEOUT        408 "request_timeout"        "The request took too long to arrive."
    CONFLICT               409 "conflict"               "The request conflicts with the current state."
    PAYLOAD_TOO_LARGE      413 "payload_too_large"      "The body is too large."
    URI_TOO_LONG           414 "uri_too_long"           "The URL is too long."
    UNSUPPORTED_MEDIA_TYPE 415 "unsupported_media_type" "The media type is not supported."
    MISDIRECTED_REQUEST    421 "misdirected_request"    "The host is not served here."
    INVALID_FIELDS         422 "invalid_fields"         "Some fields are invalid."
    RATE_LIMITED           429 "rate_limited"           "Too many requests."
    INTERNAL               500 "internal"               "Something went wrong on our side."
    UNAVAILABLE            503 "unavailable"            "The service is temporarily unavailable."
    BUSY                   503 "busy"                   "The service is busy."
    DEADLINE_EXCEEDED      503 "deadline_exceeded"      "The request took too long to process."
}

impl ProblemCode {
    /// Code for a bare response of a library.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::UNAUTHENTICATED,
            403 => Self::FORBIDDEN,
            404 => Self::NOT_FOUND,
            405 => Self::METHOD_NOT_ALLOWED,
            408 => Self::REQUEST_TIMEOUT,
            409 => Self::CONFLICT,
            413 => Self::PAYLOAD_TOO_LARGE,
            414 => Self::URI_TOO_LONG,
            415 => Self::UNSUPPORTED_MEDIA_TYPE,
            421 => Self::MISDIRECTED_REQUEST,
            422 => Self::INVALID_FIELDS,
            429 => Self::RATE_LIMITED,
            503 => Self::UNAVAILABLE,
            500.. => Self::INTERNAL,
            _ => Self::BAD_REQUEST,
        }
    }
}
