//! What was read before, kept for a while.

use std::sync::Arc;

/// What is cached could not be read. Whoever waited for the same read has the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct LoadError(#[from] pub Arc<sqlx::Error>);
