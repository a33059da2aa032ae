//! Error codes of the service.

use http_toolkit::{Problem, ProblemCode, problem_code, problem_groups};

macro_rules! codes {
    ($($name:ident: $code:expr;)+) => {
        /// Every error code. A code never changes its meaning; a new one is a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($name,)+ }

        impl From<Code> for ProblemCode {
            fn from(code: Code) -> Self {
                match code { $(Code::$name => $code,)+ }
            }
        }

        #[cfg(test)]
        const ALL: &[ProblemCode] = &[$($code),+];
    };
}

codes! {
    BadRequest: ProblemCode::BAD_REQUEST;
    InvalidSignature: problem_code!(400, "invalid_signature", "The signature is missing, wrong or too old.");
    IdempotencyKeyRequired: problem_code!(400, "idempotency_key_required", "The header Idempotency-Key is required.");
    Unauthenticated: ProblemCode::UNAUTHENTICATED;
    InvalidCredentials: problem_code!(401, "invalid_credentials", "The email address or the password is wrong.");
    InvalidRefreshToken: problem_code!(401, "invalid_refresh_token", "The refresh token is unknown, used or expired.");
    InvalidMfaCode: problem_code!(401, "invalid_mfa_code", "The code is wrong, used or expired.");
    InvalidMfaToken: problem_code!(401, "invalid_mfa_token", "Sign in again with your password.");
    Forbidden: ProblemCode::FORBIDDEN;
    EmailNotVerified: problem_code!(403, "email_not_verified", "The email address is not verified.");
    AccessDenied: ProblemCode::ACCESS_DENIED;
    AccountDisabled: problem_code!(403, "account_disabled", "This account is disabled.");
    AccountDeletionPending: problem_code!(403, "account_deletion_pending", "This account is going to be deleted.");
    PermissionDenied: problem_code!(403, "permission_denied", "Your role in this account does not permit this.");
    SessionRequired: problem_code!(403, "session_required", "API keys cannot be used here.");
    InsufficientScope: ProblemCode::INSUFFICIENT_SCOPE;
    CsrfRefused: problem_code!(403, "csrf_refused", "CSRF check failed.");
    MfaRequired: problem_code!(403, "mfa_required", "A second factor is required.");
    AcceptanceRequired: problem_code!(403, "acceptance_required", "A new version of the terms or the privacy notice must be accepted.");
    HttpsRequired: ProblemCode::HTTPS_REQUIRED;
    NotFound: ProblemCode::NOT_FOUND;
    MethodNotAllowed: ProblemCode::METHOD_NOT_ALLOWED;
    RequestTimeout: ProblemCode::REQUEST_TIMEOUT;
    Conflict: ProblemCode::CONFLICT;
    TooManyApiKeys: problem_code!(409, "too_many_api_keys", "The account has reached its limit of API keys.");
    TooManySecrets: problem_code!(409, "too_many_secrets", "The account has reached its limit of secrets.");
    TooManyOrganisations: problem_code!(409, "too_many_organisations", "You have reached your limit of organisations.");
    SlugTaken: problem_code!(409, "slug_taken", "The slug is taken.");
    NoSeats: problem_code!(409, "no_seats", "All seats of the plan are taken.");
    TooManyInvitations: problem_code!(409, "too_many_invitations", "The organisation has reached its limit of open invitations.");
    AlreadyMember: problem_code!(409, "already_member", "The address is that of a member.");
    LastOwner: problem_code!(409, "last_owner", "An organisation has at least one owner.");
    AlreadySubscribed: problem_code!(409, "already_subscribed", "The account has a subscription.");
    NothingToCancel: problem_code!(409, "nothing_to_cancel", "The account has no subscription that could be canceled.");
    NothingToResume: problem_code!(409, "nothing_to_resume", "The account has no subscription whose cancellation could be undone.");
    NothingToManage: problem_code!(409, "nothing_to_manage", "The account has bought nothing yet.");
    ExportInProgress: problem_code!(409, "export_in_progress", "An export of your data is being made.");
    LastAdmin: problem_code!(409, "last_admin", "The last administrator cannot be removed.");
    TooManyFiles: problem_code!(409, "too_many_files", "The account has reached its limit of files.");
    StorageFull: problem_code!(409, "storage_full", "The account has used up its storage.");
    UploadMissing: problem_code!(409, "upload_missing", "The bytes of the file have not arrived.");
    UploadDiffers: problem_code!(409, "upload_differs", "The bytes that have arrived are not those that were announced.");
    UploadExpired: problem_code!(409, "upload_expired", "The upload has expired.");
    FileScanning: problem_code!(409, "file_scanning", "The file is being scanned for viruses.");
    IdempotencyKeyInUse: problem_code!(409, "idempotency_key_in_use", "A request with this idempotency key is in progress.");
    IdempotencyReplyUnavailable: problem_code!(409, "idempotency_reply_unavailable", "The request with this idempotency key succeeded, and its reply is not stored.");
    FileInfected: problem_code!(410, "file_infected", "The file was infected and its bytes are removed.");
    PreconditionFailed: problem_code!(412, "precondition_failed", "The condition of the request does not hold.");
    PayloadTooLarge: ProblemCode::PAYLOAD_TOO_LARGE;
    UriTooLong: ProblemCode::URI_TOO_LONG;
    UnsupportedMediaType: ProblemCode::UNSUPPORTED_MEDIA_TYPE;
    FileTypeNotAllowed: problem_code!(415, "file_type_not_allowed", "Files of this type are not allowed.");
    RangeNotSatisfiable: problem_code!(416, "range_not_satisfiable", "The range is beyond the end of the file.");
    MisdirectedRequest: ProblemCode::MISDIRECTED_REQUEST;
    InvalidFields: ProblemCode::INVALID_FIELDS;
    InvalidToken: problem_code!(422, "invalid_token", "The link is unknown, used or expired.");
    InvalidImage: problem_code!(422, "invalid_image", "The image is damaged, of another format, or has too many pixels.");
    InvalidInvitation: problem_code!(422, "invalid_invitation", "The invitation is unknown, used, expired or for another address.");
    IdempotencyKeyReused: problem_code!(422, "idempotency_key_reused", "The idempotency key was used for another request.");
    RateLimited: ProblemCode::RATE_LIMITED;
    QuotaExceeded: problem_code!(429, "quota_exceeded", "The monthly quota is used up.");
    TooManyAttempts: problem_code!(429, "too_many_attempts", "Too many failed attempts.");
    Internal: ProblemCode::INTERNAL;
    Unavailable: ProblemCode::UNAVAILABLE;
    Busy: ProblemCode::BUSY;
    BillingNotConfigured: problem_code!(503, "billing_not_configured", "Billing is not configured.");
    BillingMisconfigured: problem_code!(503, "billing_misconfigured", "The payment provider rejects the settings of this service.");
    BillingUnavailable: problem_code!(503, "billing_unavailable", "The payment provider does not respond.");
    StorageNotConfigured: problem_code!(503, "storage_not_configured", "Storage of files is not configured.");
    StorageUnavailable: problem_code!(503, "storage_unavailable", "The object store does not respond.");
    DeadlineExceeded: ProblemCode::DEADLINE_EXCEEDED;
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl PartialEq<Code> for ProblemCode {
    fn eq(&self, other: &Code) -> bool {
        *self == Self::from(*other)
    }
}

problem_groups! {
    /// Responses of a route that calls Stripe.
    BillingProblems [
        Code::BillingNotConfigured,
        Code::BillingMisconfigured,
        Code::BillingUnavailable
    ];
    /// Responses of a route that reaches the object store.
    StorageProblems [Code::StorageNotConfigured, Code::StorageUnavailable];
    /// Responses of the route that starts an upload.
    UploadProblems [
        Code::TooManyFiles,
        Code::StorageFull,
        Code::FileTypeNotAllowed,
        Code::NotFound
    ];
    /// Response of the route that receives an upload.
    UploadExpiredProblem [Code::UploadExpired];
    /// Responses of the route that takes a picture.
    AvatarProblems [
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidImage
    ];
    /// Responses of the route that completes an upload.
    CompletionProblems [
        Code::UploadMissing,
        Code::UploadDiffers,
        Code::UploadExpired,
        Code::FileTypeNotAllowed
    ];
    /// Responses of the route that downloads a file.
    DownloadProblems [
        Code::FileScanning,
        Code::FileInfected,
        Code::RangeNotSatisfiable
    ];
    /// Responses of a route for signed-in callers.
    AuthProblems [
        Code::Unauthenticated,
        Code::SessionRequired,
        Code::InsufficientScope,
        Code::CsrfRefused,
        Code::MfaRequired,
        Code::AcceptanceRequired
    ];
    /// Responses of a route that requires reauthentication.
    ReauthenticationProblems [Code::Conflict, Code::TooManyAttempts];
    /// Responses of a route that sells a plan.
    CheckoutProblems [
        Code::AlreadySubscribed,
        Code::BillingNotConfigured,
        Code::BillingMisconfigured,
        Code::BillingUnavailable
    ];
    /// Responses of a route that opens the customer portal.
    PortalProblems [
        Code::NothingToManage,
        Code::BillingNotConfigured,
        Code::BillingMisconfigured,
        Code::BillingUnavailable
    ];
    /// Responses of the route that cancels a subscription.
    CancelProblems [
        Code::NothingToCancel,
        Code::BillingNotConfigured,
        Code::BillingMisconfigured,
        Code::BillingUnavailable
    ];
    /// Responses of the route that undoes a cancellation.
    ResumeProblems [
        Code::NothingToResume,
        Code::BillingNotConfigured,
        Code::BillingMisconfigured,
        Code::BillingUnavailable
    ];
    /// Responses of the webhook.
    WebhookProblems [
        Code::InvalidSignature,
        Code::PayloadTooLarge,
        Code::BillingNotConfigured
    ];
    /// Response of a route that a used-up quota disables.
    QuotaProblem [Code::QuotaExceeded];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ALL;

    #[test]
    fn codes_are_distinct_snake_case_and_refusals() {
        let names: HashSet<_> = ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
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
