//! The door for programs: lets in who presents a key, where the key's scopes reach.

use axum::extract::Request;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::key::PresentedKey;
use super::store::{self, StoredKey};
use crate::audit::Event;
use crate::auth;
use crate::ctx::{Caller, Credential, Ctx};
use crate::ids::ApiKeyId;
use crate::metrics::{self, ApiKeyUse};
use crate::policy::Policy;
use crate::state::AppState;
use crate::web::{Code, MiddlewareResult, Problem};

/// The log has one refusal of a key in so long, and a key's last use is written as seldom.
const SELDOM: TimeDelta = TimeDelta::minutes(1);

/// Authenticates a request by its API key, and rejects it outside of the key's scopes. A request without
/// a key passes: the middleware below rejects a token that it does not know.
///
/// The database is asked each time: a key that is revoked, and one whose account is disabled, is
/// refused by the next request on any replica.
pub async fn authenticate<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let token = auth::bearer_token(request.headers());
    let Some(presented) = token.and_then(|token| PresentedKey::read(token, &state.api_keys)) else {
        return next(request).await;
    };
    let now = state.clock.now();
    let found = store::find_living(&state.db, presented.id, now).await?;
    let Some(key) = found.filter(|key| key.has(&presented.hash)) else {
        metrics::count_api_key(ApiKeyUse::Refused);
        return Err(Problem::unauthenticated_token());
    };
    if key.is_disabled {
        metrics::count_api_key(ApiKeyUse::Disabled);
        return Err(Code::AccountDisabled.into());
    }
    note_use(state, presented.id, &key, now);
    Caller {
        user_id: key.user_id,
        credential: Credential::ApiKey(presented.id),
    }
    .enter(request.extensions_mut());
    let Some(area) = policy.area else {
        metrics::count_api_key(ApiKeyUse::OutOfScope);
        return Err(Code::SessionRequired.into());
    };
    if !key.scopes().allow(area, request.method()) {
        metrics::count_api_key(ApiKeyUse::OutOfScope);
        let scope = area.scope_name(request.method());
        let ctx = Ctx::of(state, request.headers(), request.extensions());
        record_refusal(&ctx, presented.id, scope, now).await?;
        return Err(Problem::insufficient_scope(scope));
    }
    metrics::count_api_key(ApiKeyUse::Accepted);
    next(request).await
}

fn note_use(state: &AppState, id: ApiKeyId, key: &StoredKey, now: DateTime<Utc>) {
    if key.last_used_at.is_none_or(|last| now - last >= SELDOM) {
        state.key_uses.note(id.0, now);
    }
}

/// Records in the audit log that a key was used outside of its scopes, once a minute at most.
async fn record_refusal(
    ctx: &Ctx,
    id: ApiKeyId,
    scope: &'static str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let last = ctx.key_refusals.note(id.0, now);
    if last.is_some_and(|last| now - last < SELDOM) {
        return Ok(());
    }
    let detail = json!({ "api_key": id, "scope": scope });
    ctx.audit(Event::ApiKeyRefused.detail(detail)).await
}
