//! The HTTP toolkit, with the service's error codes and its rate limits.

mod code;
mod limit;
mod limit_document;
mod problems;

pub use code::Code;
pub use http_toolkit::*;
pub use http_toolkit::{PageRequest as Paged, PageSize as Limit, TimeCursor as Moment};
pub use limit::{ClientLimits, allows, limit_client, limit_rejected_credentials, limited, spend};
pub use limit_document::document_limits;
pub use problems::{AuthProblems, QuotaProblem, ReauthenticationProblems};
