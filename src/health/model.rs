//! What the probes are told. No host, no version of anything but ourselves, no error's text.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the process is about to go; a clone is another handle on the same switch.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Makes readiness fail from now on, so that no new traffic is sent here.
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How a part of the service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It works.
    Ok,
    /// It does not, and the service does without.
    Degraded,
    /// It does not, and the service cannot do without.
    Down,
    /// The process is about to stop.
    Draining,
}

/// What this process is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` while the process answers.
    #[schema(example = "ok")]
    pub(super) status: Status,
    /// The release.
    #[schema(example = "1.4.2")]
    pub(super) version: String,
    /// The commit that the release was built from, where the build knew it.
    #[schema(example = "0a1b2c3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<&'static str>,
    /// Seconds since the process started.
    #[schema(example = 86_400)]
    pub(super) uptime_seconds: u64,
}

/// Whether the process is ready for traffic, and what of it is not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// The worst that matters.
    #[schema(example = "ok")]
    pub(super) status: Status,
    /// PostgreSQL answers.
    pub(super) database: Status,
    /// The schema is that of this release, or a later one.
    pub(super) migrations: Status,
    /// Letters and other jobs are done soon after they are due.
    pub(super) queue: Status,
    /// Redis answers; absent where none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) redis: Option<Status>,
}

impl Readiness {
    pub(super) fn new(
        database: Status,
        migrations: Status,
        queue: Status,
        redis: Option<Status>,
        draining: bool,
    ) -> Self {
        let status = if draining {
            Status::Draining
        } else if [database, migrations].contains(&Status::Down) {
            Status::Down
        } else if [Some(queue), redis].contains(&Some(Status::Degraded)) {
            Status::Degraded
        } else {
            Status::Ok
        };
        Self {
            status,
            database,
            migrations,
            queue,
            redis,
        }
    }

    pub(super) fn takes_traffic(&self) -> bool {
        matches!(self.status, Status::Ok | Status::Degraded)
    }
}
