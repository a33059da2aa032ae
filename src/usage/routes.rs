//! `/usage`: usage reports and quotas.

use std::time::Duration;

use clock::Month;
use http_toolkit::{Json, Page, PageParams, PageRequest, Problem, QueryProblems, Routes};
use rate_limit::TooMany;
use tracing::Instrument as _;
use utoipa_axum::routes;

use super::jobs::first_minute;
use super::model::{CurrentUsage, LastItem, UsageFilter, UsageItem};
use super::store;
use crate::ctx::{CallerCtx, read_replica};
use crate::events;
use crate::metrics;
use crate::plans;
use crate::state::AppState;
use crate::web::Code;

/// How long a report waits for a slot.
const WAIT: Duration = Duration::from_secs(1);

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_current_usage))
}

/// Reports, which tolerate lag.
pub fn report_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(list_usage))
}

/// List usage by day, hour or minute, the oldest first.
///
/// Periods without requests are omitted, and the last seconds are not included yet.
#[utoipa::path(get, path = "", tag = "usage", params(UsageFilter, PageParams),
    responses((status = 200, description = "A page of usage items.", body = Page<UsageItem>), QueryProblems))]
async fn list_usage(
    ctx: CallerCtx,
    page: PageRequest<LastItem, UsageFilter>,
) -> Result<Json<Page<UsageItem>>, Problem> {
    let query = page.filter.query(ctx.now(), first_minute(&ctx))?;
    let account_id = ctx.account_id();
    let slot = ctx.reports.acquire(account_id.0, WAIT).await;
    let slot = slot.map_err(too_many_reports)?;
    let limit = page.limit;
    // The task keeps the slot until the statement ends, also when the client disconnects.
    let report = async move {
        let timeout = ctx.usage.report_timeout;
        let items = read_replica!(ctx.lagging_reads(), conn => {
            store::list(conn, account_id, &query, &page, timeout)
        });
        drop(slot);
        items
    };
    let report = tokio::spawn(report.in_current_span());
    let items = report.await.map_err(Problem::internal)?;
    let items = items.map_err(report_problem)?;
    let position =
        |item: &UsageItem| LastItem(item.start, item.endpoint.clone().unwrap_or_default());
    Ok(Json(Page::cut(items, limit, position)))
}

fn too_many_reports(error: TooMany) -> Problem {
    metrics::count_refused("reports");
    match error {
        TooMany::OfCaller => Problem::new(Code::RateLimited)
            .detail("Other reports of this account are still running.")
            .retry_after(WAIT),
        TooMany::OfAll => Problem::new(Code::Busy).retry_after(WAIT),
    }
}

fn report_problem(error: sqlx::Error) -> Problem {
    if database::is_cancelled(&error) {
        return Problem::new(Code::DeadlineExceeded)
            .detail("The report took too long. Ask for a shorter time or a coarser granularity.");
    }
    error.into()
}

/// Show the plan, its limits and the usage of this month.
#[utoipa::path(get, path = "/current", tag = "usage",
    responses((status = 200, description = "The current usage.", body = CurrentUsage)))]
async fn get_current_usage(ctx: CallerCtx) -> Result<Json<CurrentUsage>, Problem> {
    let (account_id, month) = (ctx.account_id(), Month::of(ctx.now()));
    let plan = plans::plan_of(&ctx, account_id).await?;
    let mut tx = ctx.begin().await?;
    let used = store::find_total(&mut *tx, account_id, month.first_day()).await?;
    let stored = events::stored_in(&mut *tx, account_id, month).await?;
    tx.commit().await?;
    let tier = plan.tier(&ctx.plans);
    let left = |quota: u32| u64::from(quota).saturating_sub(used);
    Ok(Json(CurrentUsage {
        plan,
        requests_per_minute: tier.rate,
        monthly_quota: tier.quota.map(|quota| quota.requests),
        quota_is_hard: tier.quota.is_some_and(|quota| quota.hard),
        period_start: month.start(),
        period_end: month.end(),
        used,
        remaining: tier.quota.map(|quota| left(quota.requests)),
        monthly_events: tier.events,
        events_used: stored.events,
        monthly_event_bytes: tier.event_bytes,
        event_bytes_used: stored.bytes,
    }))
}
