//! Control routes below `/fake/`, for scripts and other processes.

use std::sync::Arc;

use axum::Router;

use super::server::Shared;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
}
