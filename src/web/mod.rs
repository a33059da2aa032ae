//! The HTTP kit: what every slice's door is built from and what every request meets before it.
//! Owns no route and no table.
//!
//! Every refusal, wherever it arises, is one [`Problem`]; [`RequestContextLayer`] stands outermost and
//! gives it the request's id.

mod all_faults;
mod base_path;
mod bodies;
mod body;
mod client;
mod code;
mod connection;
mod context;
mod cors;
mod database;
mod deadline;
mod deny;
mod document;
mod etag;
mod extract;
mod fault;
mod guard;
mod headers;
mod hosts;
mod idle;
mod limit;
mod limit_document;
mod middleware;
mod overload;
mod own_origins;
mod page;
mod panic;
mod per_client;
mod probes;
mod problem;
mod refusing;
mod request_id;
mod routes;
mod server;
#[cfg(test)]
mod stack_test;
mod stall;
mod timestamp;

pub use base_path::strip_base_path;
pub use body::{BodyLimit, RawBody, body_limit};
pub use client::{Client, printable_user_agent};
pub use code::Code;
pub use context::{RequestContext, RequestContextLayer};
pub use cors::cors;
pub use database::fail_fast;
pub use deadline::Deadline;
pub use deny::DenyLists;
pub use document::{
    AuthProblems, BodyProblems, ConflictProblem, FieldProblems, ForbiddenProblem, NotFoundProblem,
    PathProblems, QueryProblems, QuotaProblem, RateProblem, ReauthenticationProblems, add_problems,
    document_common, operations, problems,
};
pub use etag::Etag;
pub use extract::{Json, Path, Query};
pub use guard::{ByClient, Guard, guard};
pub use headers::SecurityHeaders;
pub use hosts::TrustedHosts;
pub use limit::{ClientLimits, allows, limit_client, limit_rejected_credentials, limited, spend};
pub use limit_document::document_limits;
pub(crate) use middleware::middleware_stack;
pub use middleware::{Next, middleware_fn};
pub use overload::{Cap, Shed, shed};
pub use own_origins::{CookieScope, OwnOrigins};
pub use page::{Limit, Moment, NoFilter, Page, PageParams, Paged, Position};
pub use panic::PanicGuard;
pub use probes::PastProbes;
pub use problem::{FieldError, MiddlewareResult, Problem};
pub use request_id::RequestId;
pub use routes::Routes;
pub use server::{Drained, serve};
pub use timestamp::Timestamp;
