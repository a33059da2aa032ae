//! Rows that are past their retention and still there, and requests about personal data that are open.

use std::time::Duration;

use super::{erasure, exports, requests};
use crate::metrics;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::{api_keys, auth, billing, idempotency, mail, organisations, usage_summary};

/// Sets the gauges of all rows that the daily jobs delete, and of open requests. After a failure they keep their values.
pub async fn sample(state: &AppState) {
    sample_requests(state).await;
    let mut retained = auth::retained(state);
    retained.extend(api_keys::retained(state));
    retained.extend(billing::retained(state));
    retained.extend(idempotency::retained(state));
    retained.extend(organisations::retained(state));
    retained.extend(exports::retained(state));
    retained.extend(requests::retained(state));
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

/// Sets the gauge of the oldest request of the register and the oldest erasure that is due. After a failure it keeps its value.
async fn sample_requests(state: &AppState) {
    let now = state.clock.now();
    let oldest = async {
        let erasure = erasure::find_oldest_due(&state.db, now).await?;
        let request = requests::find_oldest_open(&state.db).await?;
        Ok::<_, sqlx::Error>(erasure.into_iter().chain(request).min())
    };
    if let Ok(oldest) = oldest.await {
        let age = oldest.and_then(|at| (now - at).to_std().ok());
        metrics::set_data_request_age(age.unwrap_or(Duration::ZERO));
    }
}
