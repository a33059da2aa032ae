//! Making, rotating and revoking keys. Who has a session alone gets no key out of it: it takes the
//! password as well, and the second factor where there is one, and the owner is told by letter.

use super::error::Error;
use super::jobs::{TellKeyCreated, TellKeyRotated};
use super::key::NewKey;
use super::model::{ApiKey, IssuedApiKey, Life, NewApiKey, Rotation};
use super::store::{self, Draft};
use crate::audit::{self, Entry, Event, Origin};
use crate::auth;
use crate::ids::ApiKeyId;
use crate::infra::{after, begin};
use crate::jobs;
use crate::state::AppState;
use crate::users;
use crate::web::Principal;

/// Makes a key.
pub(super) async fn create(
    state: &AppState,
    me: Principal,
    new: NewApiKey,
    origin: &Origin,
) -> Result<IssuedApiKey, Error> {
    let most = state.api_keys.max_ttl;
    let life = new.expires_in.map_or(most, Life::get);
    if life > most {
        return Err(Error::TooLong(most.as_secs()));
    }
    let shown = auth::ReauthProof::new("password", new.password, new.code, new.recovery_code)?;
    let owner = auth::reauthenticate(state, me, shown, origin).await?;
    let now = state.clock.now();
    let id = ApiKeyId::new(now, &state.rng);
    let key = NewKey::draw(&state.api_keys, id, &state.rng);
    let draft = Draft {
        id,
        user_id: me.user_id,
        name: &new.name,
        scopes: &new.scopes,
        hint: key.hint(),
        secret: key.hash,
        expires_at: after(now, life),
    };
    let mut tx = begin(&state.db).await?;
    // Of those that race, each counts what the one before has committed.
    let version = users::lock_credentials(&mut *tx, me.user_id)
        .await?
        .ok_or(auth::Error::Unauthenticated)?;
    if version != owner.version {
        return Err(auth::Error::CredentialsChanged.into());
    }
    let living = store::count_living(&mut *tx, me.user_id, now).await?;
    if living >= state.api_keys.max_count.into() {
        return Err(Error::TooMany(state.api_keys.max_count));
    }
    let about = store::insert(&mut *tx, &draft, now).await?;
    let entry = entry(Event::ApiKeyCreated, me, &about, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    let letter = TellKeyCreated::to(owner.email, about.hint.clone());
    jobs::enqueue(&mut *tx, &letter, None).await?;
    tx.commit().await?;
    Ok(issued(&key, about))
}

/// Gives a key another secret. The one before works on for the overlap.
pub(super) async fn rotate(
    state: &AppState,
    me: Principal,
    id: ApiKeyId,
    rotation: Rotation,
    origin: &Origin,
) -> Result<IssuedApiKey, Error> {
    let (code, recovery_code) = (rotation.code, rotation.recovery_code);
    let shown = auth::ReauthProof::new("password", rotation.password, code, recovery_code)?;
    let owner = auth::reauthenticate(state, me, shown, origin).await?;
    let now = state.clock.now();
    let key = NewKey::draw(&state.api_keys, id, &state.rng);
    let mut tx = begin(&state.db).await?;
    auth::recheck_proof(&mut tx, me, &owner).await?;
    let rotated = store::rotate(
        &mut *tx,
        (me.user_id, id),
        (key.hash, key.hint()),
        after(now, rotation.overlap.get()),
        after(now, state.api_keys.max_ttl),
        now,
    )
    .await?;
    let Some(about) = rotated else {
        let expires_at = store::find_expiry(&mut *tx, me.user_id, id).await?;
        return Err(match expires_at {
            None => Error::NotFound,
            Some(at) if at <= now => Error::Expired,
            Some(_) => Error::Overlapping,
        });
    };
    let entry = entry(Event::ApiKeyRotated, me, &about, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    let letter = TellKeyRotated::to(owner.email, about.hint.clone());
    jobs::enqueue(&mut *tx, &letter, None).await?;
    tx.commit().await?;
    Ok(issued(&key, about))
}

/// Revokes a key: it is refused from now on, and by every replica.
pub(super) async fn revoke(
    state: &AppState,
    me: Principal,
    id: ApiKeyId,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    if !store::revoke(&mut *tx, me.user_id, id, now).await? {
        return Err(Error::NotFound);
    }
    let session = Some(me.session_id);
    let mut entry = Entry::own(Event::ApiKeyRevoked, me.user_id, session, origin);
    entry.detail = serde_json::json!({ "api_key": id });
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    Ok(())
}

fn entry<'a>(event: Event, me: Principal, key: &ApiKey, origin: &'a Origin) -> Entry<'a> {
    let mut entry = Entry::own(event, me.user_id, Some(me.session_id), origin);
    entry.detail = serde_json::json!({
        "api_key": key.id,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "previous_expires_at": key.previous_expires_at,
    });
    entry
}

fn issued(key: &NewKey, about: ApiKey) -> IssuedApiKey {
    IssuedApiKey {
        key: key.text.to_string(),
        about,
    }
}
