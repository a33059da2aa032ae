//! Error codes that groups of routes share.

use http_toolkit::problem_groups;

use super::code::Code;

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
