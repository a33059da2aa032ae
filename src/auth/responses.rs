//! Documented problem responses of a route: one line a group.

use std::collections::BTreeMap;

use utoipa::openapi::{self, RefOr};

use crate::web::{Code, problems};

/// Problems of a JSON body, and these: one response a status.
pub(crate) fn body_problems_and(codes: &[Code]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let body = [
        Code::BadRequest,
        Code::RequestTimeout,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidFields,
    ];
    problems(&[&body[..], codes].concat())
}

/// Groups for `responses(…)` of routes with a JSON body: `problem_groups! { LoginProblems [InvalidCredentials]; }`.
macro_rules! problem_groups {
    ($($name:ident [$($code:ident),+];)+) => {$(
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::auth::body_problems_and(&[$($crate::web::Code::$code),+])
            }
        }
    )+};
}

pub(crate) use problem_groups;
