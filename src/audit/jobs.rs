//! Makes the log's partitions ahead of time.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::store;
use crate::jobs;

/// Months ahead that have a partition; rows beyond go to the default one.
const MONTHS_AHEAD: i32 = 3;

/// Runs daily; does nothing most days.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CreatePartitions {}

impl TaskHandler for CreatePartitions {
    const IDENTIFIER: &'static str = "audit.create_partitions";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let made = store::create_partitions(ctx.pg_pool(), MONTHS_AHEAD).await;
        jobs::report(&ctx, made.map(|_| ()))
    }
}
