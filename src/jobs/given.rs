//! What a job is given besides its payload.

use graphile_worker::WorkerContext;

/// A worker was started without what its jobs need.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the worker was started without what this job needs")]
pub struct NotGiven;

/// What the worker was started with: the state, or whatever else it is given for its jobs.
pub fn given<T: Send + Sync + 'static>(ctx: &WorkerContext) -> Result<&T, NotGiven> {
    ctx.get_ext::<T>().ok_or(NotGiven)
}
