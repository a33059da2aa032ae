//! `/usage`: what an account called, and what of its quota is left.

use axum::extract::State;
use utoipa_axum::routes;

use super::model::{CurrentUsage, LastItem, Month, UsageFilter, UsageItem};
use super::store;
use crate::infra::{Clock, Db};
use crate::plans;
use crate::state::AppState;
use crate::web::{
    AuthProblems, Caller, Json, Page, PageParams, Paged, Problem, QueryProblems, Routes,
};

/// The routes.
pub fn router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_usage))
        .routes(routes!(get_current_usage))
}

/// My requests by the day, the hour or the minute, the oldest first.
///
/// Times without requests are left out, and the last seconds are not written yet.
#[utoipa::path(get, path = "", tag = "usage", security(("bearer" = []), ("api_key" = [])), params(UsageFilter, PageParams),
    responses((status = 200, description = "A page of them.", body = Page<UsageItem>), AuthProblems, QueryProblems))]
async fn list_usage(
    me: Caller,
    State(db): State<Db>,
    State(clock): State<Clock>,
    page: Paged<LastItem, UsageFilter>,
) -> Result<Json<Page<UsageItem>>, Problem> {
    let look = page.filter.look(clock.now())?;
    let items = store::list(&db, me.user_id, &look, &page).await?;
    let position =
        |item: &UsageItem| LastItem(item.start, item.endpoint.clone().unwrap_or_default());
    Ok(Json(Page::cut(items, page.limit, position)))
}

/// My plan, its limits, and what of this month's quota is used.
#[utoipa::path(get, path = "/current", tag = "usage", security(("bearer" = []), ("api_key" = [])),
    responses((status = 200, description = "As it stands.", body = CurrentUsage), AuthProblems))]
async fn get_current_usage(
    me: Caller,
    State(state): State<AppState>,
) -> Result<Json<CurrentUsage>, Problem> {
    let month = Month::of(state.clock.now());
    let plan = plans::plan_of(&state, me.user_id).await?;
    let used = store::find_total(&state.db, me.user_id, month.first_day()).await?;
    let tier = plan.tier(&state.plans);
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
    }))
}
