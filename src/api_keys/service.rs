//! Create, rotate and revoke API keys. A stolen session is not sufficient: a key requires reauthentication, and the
//! owner gets an email. The time of last use is written in batches, outside of requests.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::after;
use crypto::GeneratedApiKey;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::jobs::{NotifyKeyCreated, NotifyKeyRotated};
use super::model::{ApiKey, IssuedApiKey, Lifetime, NewApiKey, Rotation};
use super::store;
use crate::audit::Event;
use crate::auth;
use crate::ctx::UserCtx;
use crate::ids::ApiKeyId;
use crate::organisations;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

const WRITE_USES_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn create(ctx: &UserCtx, new: NewApiKey) -> Result<IssuedApiKey, Error> {
    let most = ctx.api_keys.max_ttl;
    let life = new.expires_in.map_or(most, Lifetime::get);
    if life > most {
        return Err(Error::TooLong(most.as_secs()));
    }
    if ctx.account_id() != ctx.user_id().personal_account() {
        if new.scopes.include_profile() {
            return Err(Error::NoProfile);
        }
        // A key never has a permission that its creator lacks.
        ctx.permissions().require_all(new.scopes.permissions())?;
    }
    let proof = auth::ReauthProof::new("password", new.password, new.code, new.recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let now = ctx.now();
    let id = ApiKeyId::new(now, &ctx.rng);
    let key = generate(ctx, id);
    let mut tx = ctx.begin().await?;
    // Serializes concurrent calls, so that each counts the keys of the one before.
    if !organisations::lock_account(&mut *tx, ctx.account_id()).await? {
        return Err(Error::NoAccount);
    }
    auth::recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let active = store::count_active(&mut *tx, ctx.account_id(), now).await?;
    if active >= ctx.api_keys.max_count.into() {
        return Err(Error::TooMany(ctx.api_keys.max_count));
    }
    let about = store::insert(
        &mut *tx,
        (ctx.account_id(), ctx.user_id(), id),
        (&new.name, &new.scopes),
        &key,
        after(now, life),
        now,
    )
    .await?;
    tx.audit(Event::ApiKeyCreated.detail(detail(&about)))
        .await?;
    let job = NotifyKeyCreated::to(known.email, about.hint.clone());
    job_queue::enqueue(&mut *tx, &job, None).await?;
    let issued = issued(&key, about);
    tx.commit_created(&issued).await?;
    Ok(issued)
}

pub(super) async fn rotate(
    ctx: &UserCtx,
    id: ApiKeyId,
    rotation: Rotation,
) -> Result<IssuedApiKey, Error> {
    let (code, recovery_code) = (rotation.code, rotation.recovery_code);
    let proof = auth::ReauthProof::new("password", rotation.password, code, recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let now = ctx.now();
    let key = generate(ctx, id);
    let mut tx = ctx.begin().await?;
    auth::recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let rotated = store::rotate(
        &mut *tx,
        (ctx.account_id(), ctx.user_id(), id),
        &key,
        after(now, rotation.overlap.get()),
        after(now, ctx.api_keys.max_ttl),
        now,
    )
    .await?;
    let Some(about) = rotated else {
        let expires_at = store::find_expiry(&mut *tx, ctx.account_id(), id).await?;
        return Err(match expires_at {
            None => Error::NotFound,
            Some(at) if at <= now => Error::Expired,
            Some(_) => Error::Overlapping,
        });
    };
    // The secret gives the permissions of its scopes to the caller.
    ctx.permissions().require_all(about.scopes.permissions())?;
    tx.audit(Event::ApiKeyRotated.detail(detail(&about)))
        .await?;
    let job = NotifyKeyRotated::to(known.email, about.hint.clone());
    job_queue::enqueue(&mut *tx, &job, None).await?;
    let issued = issued(&key, about);
    tx.commit_ok(&issued).await?;
    Ok(issued)
}

pub(super) async fn revoke(ctx: &UserCtx, id: ApiKeyId) -> Result<(), Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    if !store::revoke(&mut *tx, ctx.account_id(), id, now).await? {
        return Err(Error::NotFound);
    }
    let detail = json!({ "api_key": id });
    tx.audit(Event::ApiKeyRevoked.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

fn generate(ctx: &UserCtx, id: ApiKeyId) -> GeneratedApiKey {
    let config = &ctx.api_keys;
    GeneratedApiKey::generate(&config.prefix, config.environment, id.0, &ctx.rng)
}

fn detail(key: &ApiKey) -> Value {
    json!({
        "api_key": key.id,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "previous_expires_at": key.previous_expires_at,
    })
}

fn issued(key: &GeneratedApiKey, about: ApiKey) -> IssuedApiKey {
    IssuedApiKey {
        key: key.text.to_string(),
        about,
    }
}

/// Writes the last uses of keys until `stop`.
pub async fn watch_uses(state: AppState, stop: CancellationToken) {
    let mut ticks = interval(WRITE_USES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        write_uses(&state).await;
    }
}

pub async fn write_uses(state: &AppState) {
    let uses = state.key_uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = try_write_uses(state, &uses).await {
        tracing::warn!(%error, "last use of API keys cannot be written");
        for (id, at) in uses {
            state.key_uses.record(id, at);
        }
    }
}

async fn try_write_uses(
    state: &AppState,
    uses: &HashMap<ApiKeyId, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Authentication)).await?;
    store::update_last_used(&mut *tx, uses).await?;
    tx.commit().await
}
