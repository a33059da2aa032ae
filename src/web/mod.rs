//! Error codes of the service.

mod code;

pub use code::{
    AuthProblems, BillingProblems, CancelProblems, CheckoutProblems, Code, PortalProblems,
    QuotaProblem, ReauthenticationProblems, ResumeProblems, WebhookProblems,
};
