//! Error codes that groups of routes share, and errors of `infra` as problems.

use http_toolkit::{Problem, problem_groups};

use super::code::Code;
use crate::infra::LoadError;

problem_groups! {
    /// Responses of a route for signed-in callers.
    AuthProblems [
        Code::Unauthenticated,
        Code::SessionRequired,
        Code::InsufficientScope,
        Code::CsrfRefused,
        Code::MfaRequired
    ];
    /// Responses of a route that requires reauthentication.
    ReauthenticationProblems [Code::Conflict, Code::TooManyAttempts];
    /// Response of a route that a used-up quota disables.
    QuotaProblem [Code::QuotaExceeded];
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Database(error) => Self::from(&*error),
            LoadError::Json(error) => Self::internal(error),
        }
    }
}
