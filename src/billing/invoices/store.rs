//! Statements on `invoices`.

use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use super::model::{Invoice, InvoiceStatus};
use crate::ids::{AccountId, InvoiceId};

/// Newest first.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Invoice>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        Invoice,
        r#"SELECT id AS "id: InvoiceId", number, status AS "status: InvoiceStatus", total, amount_due, amount_paid,
                  amount_remaining, currency, hosted_url, pdf_url, period_start, period_end, created_at
           FROM invoices
           WHERE account_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
           ORDER BY created_at DESC, id DESC
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}
