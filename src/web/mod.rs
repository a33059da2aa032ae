//! Error codes of the service.

mod code;

pub use code::{AuthProblems, Code, QuotaProblem, ReauthenticationProblems};
