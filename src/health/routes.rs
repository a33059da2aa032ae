//! `/health`, `/health/live` and `/health/ready`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use health_checks::Status;
use http_toolkit::{Draining, Json, Routes};
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::model::{Health, Readiness};
use super::service::{self, Checks};
use crate::state::AppState;

pub fn routes(draining: Draining) -> Routes<AppState> {
    let checks = Arc::new(Checks::default());
    Routes::new()
        .routes(routes!(get_health))
        .routes(routes!(get_liveness))
        .routes(routes!(get_readiness).layer((Extension(draining), Extension(checks))))
}

/// Show the status and version of the process.
#[utoipa::path(get, path = "/", tag = "health",
    responses((status = 200, description = "The process responds.", body = Health)))]
async fn get_health(State(state): State<AppState>) -> Json<Health> {
    Json(Health {
        status: Status::Ok,
        version: state.version.to_string(),
        commit: option_env!("BUILD_COMMIT").filter(|commit| !commit.is_empty()),
        uptime_seconds: state.started.elapsed().as_secs(),
    })
}

/// Check that the process is alive.
///
/// Checks no dependency: an unavailable database is no reason for a restart.
#[utoipa::path(get, path = "/live", tag = "health",
    responses((status = 200, description = "The process responds.")))]
async fn get_liveness() -> StatusCode {
    StatusCode::OK
}

/// Check that the process is ready for traffic.
#[utoipa::path(get, path = "/ready", tag = "health", responses(
    (status = 200, description = "Ready; optional dependencies may be unavailable.", body = Readiness),
    (status = 503, description = "Not ready: the database is unavailable, its schema is older than this release, or the process is shutting down.", body = Readiness)))]
async fn get_readiness(
    State(state): State<AppState>,
    Extension(checks): Extension<Arc<Checks>>,
    Extension(draining): Extension<Draining>,
) -> (StatusCode, Json<Readiness>) {
    let readiness = service::readiness(&checks, &state, &draining).await;
    let status = if readiness.status.takes_traffic() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}
