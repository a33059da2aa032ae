//! Methods that no standard has are refused before anything depends on them (RFC 9110 §15.6.2).

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use tower::Layer;

use super::code::Code;
use super::problem::Problem;
use super::refusing::{Refusing, Rules};
use crate::telemetry::is_standard;

/// The layer: 501 for a method that is neither in RFC 9110 nor PATCH (RFC 5789). Whether a route has
/// a known method is the router's to say, by 405.
#[derive(Clone, Copy, Debug)]
pub struct KnownMethods;

impl Rules for KnownMethods {
    fn refuse(&self, request: &Request) -> Option<Response> {
        let refused = !is_standard(request.method());
        refused.then(|| Problem::new(Code::NotImplemented).into_response())
    }
}

impl<S> Layer<S> for KnownMethods {
    type Service = Refusing<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Refusing::new(inner, &Arc::new(*self))
    }
}
