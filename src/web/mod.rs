//! Error codes of the service.

mod code;

pub use code::{
    AuthProblems, AvatarProblems, BillingProblems, CancelProblems, CheckoutProblems, Code,
    CompletionProblems, DownloadProblems, PortalProblems, QuotaProblem, ReauthenticationProblems,
    ResumeProblems, StorageProblems, UploadExpiredProblem, UploadProblems, WebhookProblems,
};
