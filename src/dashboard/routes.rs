//! `/dashboard`.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use cache::CacheFamily;
use chrono::{DateTime, Utc};
use clock::Month;
use http_toolkit::{Problem, Routes};
use utoipa_axum::routes;

use super::model::{Account, AccountInfo, Dashboard, Facts, MonthUsage, OrganisationAccount};
use super::store;
use crate::config::PlansConfig;
use crate::ctx::CallerCtx;
use crate::ids::AccountId;
use crate::plans::{Entitlement, Offer};
use crate::state::AppState;
use crate::web::Code;

/// Number of payments shown.
const PAYMENTS: i64 = 5;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// As they are sent. Kept in the process alone: an account's address has no business in Redis.
static DASHBOARDS: CacheFamily<AccountId, Option<Bytes>> =
    CacheFamily::in_process("dashboard", Duration::from_secs(5), 2_000);

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_dashboard))
}

/// Show the dashboard: account, plan, usage and payments.
///
/// The data is at most five seconds old.
#[utoipa::path(get, path = "/dashboard", tag = "users",
    responses((status = 200, description = "The account, its plan, its usage this month and its last payments.",
        body = Dashboard)))]
async fn show_dashboard(ctx: CallerCtx) -> Result<impl IntoResponse, Problem> {
    let (account_id, read) = (ctx.account_id(), ctx.clone());
    let dashboard = ctx.cache.get(&DASHBOARDS, &account_id, || async move {
        let now = read.now();
        let mut tx = read.begin().await?;
        let facts = store::find(&mut *tx, account_id, Month::of(now), PAYMENTS).await?;
        tx.commit().await?;
        let dashboard = facts.map(|facts| assemble(account_id, facts, &read.plans, now));
        let json = dashboard.as_ref().map(serde_json::to_vec).transpose()?;
        Ok::<_, Box<dyn Error + Send + Sync>>(json.map(Bytes::from))
    });
    // The account has been deleted.
    let json = Option::clone(&*dashboard.await?).ok_or(Code::Unauthenticated)?;
    Ok(([(CONTENT_TYPE, JSON)], json))
}

fn assemble(
    account_id: AccountId,
    facts: Facts,
    plans: &PlansConfig,
    now: DateTime<Utc>,
) -> Dashboard {
    let subscription = facts.subscription.map(|it| it.0);
    let plan = Entitlement::of(subscription, plans.past_due_grace).plan(now);
    let (month, quota) = (Month::of(now), plan.tier(plans).quota);
    Dashboard {
        account: match facts.email {
            Some(email) => AccountInfo::Personal(Account {
                id: account_id,
                email,
                first_name: facts.first_name,
                last_name: facts.last_name,
                created_at: facts.created_at,
            }),
            None => AccountInfo::Organisation(OrganisationAccount {
                id: account_id,
                name: facts.name.unwrap_or_default(),
                slug: facts.slug,
                created_at: facts.created_at,
            }),
        },
        plan: Offer::of(plan, plans),
        subscription,
        usage: MonthUsage {
            period_start: month.start(),
            period_end: month.end(),
            used: facts.used,
            remaining: quota.map(|quota| (i64::from(quota.requests) - facts.used).max(0)),
            days: facts.days.0,
        },
        payments: facts.payments.0,
        as_of: now,
    }
}
