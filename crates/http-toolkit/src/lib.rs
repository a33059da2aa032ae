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
#[cfg(feature = "swagger-ui")]
mod docs;
mod document;
mod etag;
mod except_probes;
mod exempt;
mod extract;
mod fault;
mod guard;
mod headers;
mod hosts;
mod idle;
mod json_object;
mod limit;
mod limit_document;
mod load_shed;
pub mod metrics;
mod middleware;
mod multipart;
mod page;
mod per_client;
mod probe;
mod problem;
mod reject;
mod request_id;
mod retry_after;
mod routes;
mod server;
#[cfg(test)]
mod stack_test;
mod stop;
mod text;
mod timestamp;
mod trusted_origins;
mod write_timeout;

pub use base_path::strip_base_path;
pub use bearer::{bearer_token, has_bearer};
pub use body::{BodyLimit, RawBody, body_limit};
pub use catch_panic::CatchPanic;
pub use client::{Client, UNKNOWN, printable_user_agent};
pub use code::{Definition, ProblemCode};
pub use config::{HttpConfig, HttpSettings};
pub use context::{Polled, RequestContext, RequestContextLayer};
pub use cookie::{AmbiguousCookie, SessionCookie};
pub use cors::cors;
#[cfg(feature = "postgres")]
pub use database::fail_fast;
pub use deadline::Deadline;
pub use deny::{AgentPattern, DenyConfig, DenyLists, DenySettings};
#[cfg(feature = "swagger-ui")]
pub use docs::{DOCS_DOCUMENT, DOCS_PAGE, docs};
pub use document::{
    BodyProblems, ConflictProblem, FieldProblems, ForbiddenProblem, NotFoundProblem, PathProblems,
    QueryProblems, RateProblem, Responses, add_problems, document_common, operations, problems,
};
pub use etag::{Etag, Preconditions, PreparedJson};
pub use except_probes::ExceptProbes;
pub use exempt::ExemptNetworks;
pub use extract::{Json, Path, Query};
pub use guard::{ByClient, Guard, guard};
pub use headers::SecurityHeaders;
pub use hosts::TrustedHosts;
pub use json_object::JsonObject;
pub use limit::{ClientLimits, allows, limit_client, limit_rejected_credentials, limited, spend};
pub use limit_document::document_limits;
pub use load_shed::{LoadShedLayer, Shed, shed};
pub use middleware::{Next, middleware_fn};
pub use multipart::{Multipart, Part};
pub use page::{NoFilter, Page, PageParams, PageRequest, PageSize, Position, TimeCursor};
pub use probe::{Draining, probe_readiness};
pub use problem::{FieldError, MiddlewareResult, Problem};
pub use request_id::RequestId;
pub use routes::Routes;
pub use server::{Drained, serve};
pub use stop::stop_signal;
pub use text::one_line;
pub use timestamp::Timestamp;
pub use trusted_origins::{CookieScope, TrustedOrigins};
