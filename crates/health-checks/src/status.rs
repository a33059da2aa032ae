//! Status of a service or of a dependency.

use serde::Serialize;
use utoipa::ToSchema;

/// Status of the service or of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Available.
    Ok,
    /// Unavailable, and the service works without it.
    Degraded,
    /// Unavailable, and the service does not work without it.
    Down,
    /// The process is shutting down.
    Draining,
}

impl Status {
    /// Returns whether a load balancer may send requests.
    #[must_use]
    pub const fn takes_traffic(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded)
    }
}
