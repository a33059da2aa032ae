//! Replies of the probes. They have no host name, no error text and no version but that of the service.

use health_checks::Status;
use serde::Serialize;
use utoipa::ToSchema;

/// Status and version of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` while the process responds.
    #[schema(example = "ok")]
    pub(super) status: Status,
    /// Version of the release.
    #[schema(example = "1.4.2")]
    pub(super) version: String,
    /// Commit that the release was built from, if known.
    #[schema(example = "0a1b2c3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<&'static str>,
    /// Seconds since the process started.
    #[schema(example = 86_400)]
    pub(super) uptime_seconds: u64,
}

/// Readiness of the process and its dependencies.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Overall status.
    #[schema(example = "ok")]
    pub(super) status: Status,
    /// `ok` if PostgreSQL responds.
    pub(super) database: Status,
    /// `ok` if the schema is that of this release or a later one.
    pub(super) migrations: Status,
    /// `ok` if jobs run soon after they are due.
    pub(super) queue: Status,
    /// `ok` if reads are sent to the read replica; absent if none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) read_replica: Option<Status>,
    /// `ok` if Redis responds; absent if none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) redis: Option<Status>,
    /// `ok` if Stripe responded to the last call; absent if billing is not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) stripe: Option<Status>,
    /// `ok` if the object store responded to the last call; absent if storage is not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) storage: Option<Status>,
    /// `ok` if the virus scanner responds; absent if none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) scanner: Option<Status>,
}

impl Readiness {
    /// Without optional dependencies.
    pub(super) const fn new(database: Status, migrations: Status, queue: Status) -> Self {
        Self {
            status: Status::Ok,
            database,
            migrations,
            queue,
            read_replica: None,
            redis: None,
            stripe: None,
            storage: None,
            scanner: None,
        }
    }

    /// Derives the overall status.
    pub(super) fn judged(self) -> Self {
        let optional = [
            Some(self.queue),
            self.read_replica,
            self.redis,
            self.stripe,
            self.storage,
            self.scanner,
        ];
        let status = if [self.database, self.migrations].contains(&Status::Down) {
            Status::Down
        } else if optional.contains(&Some(Status::Degraded)) {
            Status::Degraded
        } else {
            Status::Ok
        };
        Self { status, ..self }
    }
}
