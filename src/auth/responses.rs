//! Documented problem responses that several folders share.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{self, RefOr};

use crate::web::{Code, problems};

pub(crate) type Responses = BTreeMap<String, RefOr<openapi::Response>>;

/// What a body can answer, and what these codes say besides.
pub(crate) fn body_problems_and(codes: &[Code]) -> Responses {
    let body = [
        Code::BadRequest,
        Code::RequestTimeout,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidFields,
    ];
    problems(&[&body[..], codes].concat())
}

pub(crate) struct LinkProblems;

impl IntoResponses for LinkProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidToken])
    }
}
