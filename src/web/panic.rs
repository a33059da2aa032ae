//! A panic in a handler costs one reply, not the connection, and shows nothing of itself.

use std::any::Any;

use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::code::Code;
use super::problem::Problem;

/// The layer of [`panic_guard`].
pub type PanicGuard = CatchPanicLayer<fn(Box<dyn Any + Send>) -> Response>;

/// The layer that turns a panic into a 500.
#[must_use]
pub fn panic_guard() -> PanicGuard {
    CatchPanicLayer::custom(refuse)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
fn refuse(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked");
    Problem::new(Code::Internal).into_response()
}
