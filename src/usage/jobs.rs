//! Forgetting what is older than the counts themselves, which go by the month.

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::model::Month;
use super::store;
use crate::jobs;
use crate::state::AppState;

/// A process that wrote nothing for so long sends nothing again either.
const WRITERS_KEPT: TimeDelta = TimeDelta::days(7);

/// Why the job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    NotGiven(#[from] jobs::NotGiven),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Runs daily; does nothing most days.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeUsage {}

impl TaskHandler for PurgeUsage {
    const IDENTIFIER: &'static str = "usage.purge";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, purge(&ctx).await)
    }
}

async fn purge(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::given(ctx)?;
    let now = state.clock.now();
    let months_before = Month::of(state.usage.retention.before(now)).first_day();
    store::purge(&state.db, months_before, now - WRITERS_KEPT).await?;
    Ok(())
}
