//! The HTTP toolkit, with the service's error codes.

mod code;

pub use code::{AuthProblems, Code, QuotaProblem, ReauthenticationProblems};
pub use http_toolkit::*;
pub use http_toolkit::{PageRequest as Paged, PageSize as Limit, TimeCursor as Moment};
