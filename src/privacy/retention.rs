//! Rows that are past their retention and still there, and erasures that are due.

use std::time::Duration;

use super::{erasure, exports};
use crate::metrics;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::{api_keys, auth, billing, idempotency, mail, organisations, usage_summary};

/// Sets the gauges of all rows that the daily jobs delete, and of erasures. After a failure they keep their values.
pub async fn sample(state: &AppState) {
    erasure::sample(state).await;
    let mut retained = auth::retained(state);
    retained.extend(api_keys::retained(state));
    retained.extend(billing::retained(state));
    retained.extend(idempotency::retained(state));
    retained.extend(organisations::retained(state));
    retained.extend(exports::retained(state));
    retained.extend(mail::retained(state));
    retained.extend(usage_summary::retained(state));
    for (rows, before) in retained {
        let oldest = async {
            let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
            let oldest = rows.oldest(&mut *tx).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(oldest)
        };
        if let Ok(oldest) = oldest.await {
            let overdue = oldest.and_then(|oldest| (before - oldest).to_std().ok());
            metrics::set_retention_overdue(rows.name(), overdue.unwrap_or(Duration::ZERO));
        }
    }
}
