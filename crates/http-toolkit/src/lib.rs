//! HTTP/1.1 server loop, request context, problem+json errors (RFC 9457), extractors and middleware for axum.
//!
//! Every error response is one [`Problem`]; [`RequestContextLayer`] is the outermost layer and adds the request id
//! to it. Nothing here knows a route, a table or a user.

mod all_faults;
mod base_path;
mod bearer;
mod bodies;
mod body;
mod catch_panic;
mod client;
mod code;
mod config;
mod connection;
mod context;
mod cookie;
mod cors;
#[cfg(feature = "postgres")]
mod database;
mod deadline;
mod deny;
mod document;
mod etag;
mod except_probes;
mod extract;
mod fault;
mod guard;
mod headers;
mod hosts;
mod idle;
mod load_shed;
pub mod metrics;
mod middleware;
mod page;
mod per_client;
mod problem;
mod reject;
mod request_id;
mod routes;
mod server;
#[cfg(test)]
mod stack_test;
mod timestamp;
mod trusted_origins;
mod write_timeout;

pub use base_path::strip_base_path;
pub use bearer::{bearer_token, has_bearer};
pub use body::{BodyLimit, RawBody, body_limit};
pub use catch_panic::CatchPanic;
pub use client::{Client, UNKNOWN, printable_user_agent};
pub use code::{Definition, ProblemCode};
pub use config::{HttpConfig, LOOPBACK};
pub use context::{RequestContext, RequestContextLayer};
pub use cookie::{AmbiguousCookie, SessionCookie};
pub use cors::cors;
#[cfg(feature = "postgres")]
pub use database::fail_fast;
pub use deadline::Deadline;
pub use deny::{AgentPattern, DenyConfig, DenyLists};
pub use document::{
    BodyProblems, ConflictProblem, FieldProblems, ForbiddenProblem, NotFoundProblem, PathProblems,
    QueryProblems, RateProblem, Responses, add_problems, document_common, operations, problems,
};
pub use etag::Etag;
pub use except_probes::ExceptProbes;
pub use extract::{Json, Path, Query};
pub use guard::{ByClient, Guard, guard};
pub use headers::SecurityHeaders;
pub use hosts::TrustedHosts;
pub use load_shed::{Cap, Shed, shed};
pub use middleware::{Next, middleware_fn};
pub use page::{NoFilter, Page, PageParams, PageRequest, PageSize, Position, TimeCursor};
pub use problem::{FieldError, MiddlewareResult, Problem};
pub use request_id::RequestId;
pub use routes::Routes;
pub use server::{Drained, serve};
pub use timestamp::Timestamp;
pub use trusted_origins::{CookieScope, TrustedOrigins};
