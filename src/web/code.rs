//! The list of what a refusal can be about.

use axum::http::StatusCode;

macro_rules! codes {
    ($($name:ident $status:literal $code:literal $title:literal)+) => {
        /// Every code a refusal can carry. A code never changes its meaning; a new one is a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// The whole list.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable name that clients match on.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// The HTTP status it travels under.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                let status = match self { $(Self::$name => StatusCode::from_u16($status),)+ };
                match status {
                    Ok(status) => status,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }

            pub(super) const fn urn(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:problem:", $code),)+ }
            }
        }
    };
}

codes! {
    BadRequest            400 "bad_request"            "The request is malformed."
    Unauthenticated       401 "unauthenticated"        "A valid sign-in is required."
    InvalidCredentials    401 "invalid_credentials"    "The email address or the password is wrong."
    InvalidRefreshToken   401 "invalid_refresh_token"  "The refresh token is unknown, used or expired."
    InvalidMfaCode        401 "invalid_mfa_code"       "The code is wrong, used or expired."
    InvalidMfaToken       401 "invalid_mfa_token"      "Sign in again with your password."
    Forbidden             403 "forbidden"              "You do not have permission."
    EmailNotVerified      403 "email_not_verified"     "The email address is not verified."
    AccessDenied          403 "access_denied"          "Access from your network is denied."
    AccountDisabled       403 "account_disabled"       "This account is disabled."
    SessionRequired       403 "session_required"       "API keys cannot be used here."
    InsufficientScope     403 "insufficient_scope"     "The API key lacks the required scope."
    CsrfRefused           403 "csrf_refused"           "CSRF check failed."
    MfaRequired           403 "mfa_required"           "A second factor is required."
    HttpsRequired         403 "https_required"         "HTTPS is required."
    NotFound              404 "not_found"              "Not found."
    MethodNotAllowed      405 "method_not_allowed"     "Method not allowed."
    RequestTimeout        408 "request_timeout"        "The request took too long to arrive."
    Conflict              409 "conflict"               "The request conflicts with the current state."
    TooManyApiKeys        409 "too_many_api_keys"      "The account has reached its limit of API keys."
    LastAdmin             409 "last_admin"             "The last administrator cannot be removed."
    PayloadTooLarge       413 "payload_too_large"      "The body is too large."
    UriTooLong            414 "uri_too_long"           "The URL is too long."
    UnsupportedMediaType  415 "unsupported_media_type" "The media type is not supported."
    MisdirectedRequest    421 "misdirected_request"    "The host is not served here."
    InvalidFields         422 "invalid_fields"         "Some fields are invalid."
    InvalidToken          422 "invalid_token"          "The link is unknown, used or expired."
    RateLimited           429 "rate_limited"           "Too many requests."
    QuotaExceeded         429 "quota_exceeded"         "The monthly quota is used up."
    TooManyAttempts       429 "too_many_attempts"      "Too many failed attempts."
    Internal              500 "internal"               "Something went wrong on our side."
    Unavailable           503 "unavailable"            "The service is temporarily unavailable."
    Busy                  503 "busy"                   "The service is busy."
    DeadlineExceeded      503 "deadline_exceeded"      "The request took too long to process."
}

impl Code {
    /// The code for a refusal that some library made with nothing but a status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            409 => Self::Conflict,
            413 => Self::PayloadTooLarge,
            414 => Self::UriTooLong,
            415 => Self::UnsupportedMediaType,
            421 => Self::MisdirectedRequest,
            422 => Self::InvalidFields,
            429 => Self::RateLimited,
            503 => Self::Unavailable,
            500.. => Self::Internal,
            _ => Self::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_and_refusals() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert!((400..600).contains(&code.status().as_u16()));
            assert!(code.title().ends_with('.'));
        }
    }
}
