//! Statement of the dashboard.

use clock::Month;
use email_transport::EmailAddress;
use sqlx::PgExecutor;
use sqlx::types::Json;

use super::model::{DayUsage, Facts};
use crate::ids::AccountId;
use crate::organisations::Slug;
use crate::payments::Payment;
use crate::plans::Subscription;
use crate::users::PersonName;

/// Reads an account, a month of its usage and its newest payments in one snapshot.
pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    month: Month,
    payments: i64,
) -> Result<Option<Facts>, sqlx::Error> {
    sqlx::query_as!(
        Facts,
        r#"SELECT u.email AS "email?: EmailAddress", u.first_name AS "first_name?: PersonName",
                  u.last_name AS "last_name?: PersonName", a.name,
                  (SELECT slug FROM account_slugs WHERE account_id = $1 AND replaced_at IS NULL) AS "slug: Slug",
                  a.created_at,
                  (SELECT to_jsonb(s) FROM (
                      SELECT plan, status, current_period_start, current_period_end, cancel_at_period_end,
                             cancel_at, past_due_since
                      FROM subscriptions
                      WHERE account_id = $1 AND status IN ('trialing', 'active', 'past_due') AND NOT is_duplicate
                        AND plan IS NOT NULL
                  ) AS s) AS "subscription: Json<Subscription>",
                  coalesce((
                      SELECT request_count FROM usage_totals WHERE account_id = $1 AND month = $2
                  ), 0) AS "used!",
                  coalesce((SELECT jsonb_agg(d) FROM (
                      SELECT start, sum(request_count)::int8 AS requests,
                             sum(client_errors)::int8 AS client_errors, sum(server_errors)::int8 AS server_errors
                      FROM (
                          SELECT created_at AS start, request_count, client_errors, server_errors
                          FROM usage_daily
                          WHERE account_id = $1 AND created_at >= $3 AND created_at < $4
                              AND (SELECT is_done FROM usage_backfill)
                          UNION ALL
                          SELECT date_trunc('day', created_at, 'UTC'), request_count,
                                 CASE WHEN status_code BETWEEN 400 AND 499 THEN request_count ELSE 0 END,
                                 CASE WHEN status_code >= 500 THEN request_count ELSE 0 END
                          FROM api_usage
                          WHERE account_id = $1 AND created_at >= $3 AND created_at < $4
                              AND NOT (SELECT is_done FROM usage_backfill)
                      ) AS u
                      GROUP BY start ORDER BY start
                  ) AS d), '[]') AS "days!: Json<Vec<DayUsage>>",
                  coalesce((SELECT jsonb_agg(p) FROM (
                      SELECT id, amount, amount_refunded, currency, coalesce(detailed_status, status) AS status,
                             description, failure_code, dispute_status, created_at
                      FROM payments
                      WHERE account_id = $1
                      ORDER BY created_at DESC, id DESC
                      LIMIT $5
                  ) AS p), '[]') AS "payments!: Json<Vec<Payment>>"
           FROM accounts AS a
           LEFT JOIN users AS u ON u.id = a.user_id AND u.deleted_at IS NULL
           WHERE a.id = $1 AND a.deleted_at IS NULL AND (a.user_id IS NULL OR u.id IS NOT NULL)"#,
        account_id.0,
        month.first_day(),
        month.start(),
        month.end(),
        payments,
    )
    .fetch_optional(conn)
    .await
}
