//! Authentication middleware for API keys.

use axum::extract::Request;
use chrono::{DateTime, TimeDelta, Utc};
use crypto::PresentedApiKey;
use http_toolkit::{MiddlewareResult, Problem, bearer_token};
use serde_json::json;

use super::store::{self, StoredKey};
use crate::audit::Event;
use crate::ctx::{Caller, Ctx};
use crate::ids::ApiKeyId;
use crate::metrics::{self, ApiKeyUse};
use crate::policy::{Area, Policy};
use crate::state::AppState;
use crate::web::Code;

/// Minimum interval of audit entries about a key, and of updates of its last use.
const RECORD_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// Authenticates by API key and checks its scopes. A request without a key continues: middleware below rejects
/// unknown tokens.
///
/// Reads the database each time, so that revoking a key or disabling its account takes effect on every replica
/// with the next request.
pub async fn authenticate<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let token = bearer_token(request.headers());
    let environment = state.api_keys.environment;
    let Some(presented) = token.and_then(|token| PresentedApiKey::parse(token, environment)) else {
        return next(request).await;
    };
    let id = ApiKeyId(presented.id);
    let now = state.clock.now();
    let found = store::find_active(&state.db, id, now).await?;
    let Some(key) = found.filter(|key| key.has(&presented.hash)) else {
        metrics::count_api_key(ApiKeyUse::Refused);
        return Err(Problem::unauthenticated_token());
    };
    if key.is_disabled {
        metrics::count_api_key(ApiKeyUse::Disabled);
        return Err(Code::AccountDisabled.into());
    }
    record_use(state, id, &key, now);
    Caller::with_api_key(key.user_id, id, key.account_id, key.scopes.permissions())
        .enter(request.extensions_mut());
    let Some(area) = policy.area else {
        metrics::count_api_key(ApiKeyUse::OutOfScope);
        return Err(Code::SessionRequired.into());
    };
    // The profile is the creator's, and not the organisation's.
    let is_own = key.account_id == key.user_id.personal_account();
    if !key.scopes.allow(area, request.method()) || (area == Area::Users && !is_own) {
        metrics::count_api_key(ApiKeyUse::OutOfScope);
        let scope = area.scope_name(request.method());
        let ctx = Ctx::of(state, request.headers(), request.extensions());
        record_refusal(&ctx, id, scope, now).await?;
        return Err(Problem::insufficient_scope(scope));
    }
    metrics::count_api_key(ApiKeyUse::Accepted);
    next(request).await
}

fn record_use(state: &AppState, id: ApiKeyId, key: &StoredKey, now: DateTime<Utc>) {
    if key
        .last_used_at
        .is_none_or(|last| now - last >= RECORD_INTERVAL)
    {
        state.key_uses.record(id, now);
    }
}

/// At most once a minute for each key.
async fn record_refusal(
    ctx: &Ctx,
    id: ApiKeyId,
    scope: &'static str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let last = ctx.key_refusals.record(id, now);
    if last.is_some_and(|last| now - last < RECORD_INTERVAL) {
        return Ok(());
    }
    let detail = json!({ "api_key": id, "scope": scope });
    ctx.audit(Event::ApiKeyRefused.detail(detail)).await
}
