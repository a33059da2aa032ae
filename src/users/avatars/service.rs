//! Storing and removing pictures.

use std::time::Duration;

use bytes::Bytes;
use clock::uuid_v7;
use http_toolkit::spend;
use object_store::ObjectStore;
use pictures::{Format, Picture};
use rate_limit::{Key, LimitCheck};
use serde_json::json;
use sqlx::PgExecutor;
use uuid::{Builder, Uuid};

use super::error::Error;
use super::model::AvatarObject;
use super::store;
use crate::audit::Event;
use crate::ctx::{CallerCtx, Tx};
use crate::ids::{AvatarId, UserId};
use crate::state::AppState;
use crate::users::model::{ProfileChanges, User};
use crate::users::store as users;

/// Pixels of one side.
const SIDE: u32 = 512;

/// For a turn to decode a picture.
const WAIT: Duration = Duration::from_secs(2);

pub(super) fn storage(state: &AppState) -> Result<&ObjectStore, Error> {
    state.storage.as_ref().ok_or(Error::NotConfigured)
}

/// Re-encodes and stores the picture. The object comes before the row, so that the row never names a missing one.
pub(super) async fn put(ctx: &CallerCtx, content_type: &str, bytes: Bytes) -> Result<User, Error> {
    let (storage, user_id) = (storage(ctx)?, ctx.user_id());
    let format = Format::of_media_type(content_type).ok_or(Error::Type)?;
    let check = LimitCheck::spend(ctx.limits.upload, Key::user(user_id.0));
    spend(&ctx.limiter, &[check])
        .await
        .map_err(Error::Limited)?;
    let slot = ctx.pictures.acquire(user_id.0, WAIT).await;
    let slot = slot.map_err(|_| Error::Busy)?;
    // The thread keeps the slot, also when the client disconnects.
    let decode = move || {
        let picture = Picture::square(&bytes, format, SIDE);
        drop(slot);
        picture
    };
    let picture = tokio::task::spawn_blocking(decode).await??;
    let object = AvatarObject {
        user_id,
        object_id: uuid_v7(ctx.now(), &ctx.rng),
    };
    let content_type = picture.format.media_type();
    let (key, bytes) = (object.key(), picture.bytes.into());
    storage.put(&key, content_type, bytes).await?;

    // A guess is as likely as that of a token.
    let id = AvatarId(Builder::from_random_bytes(ctx.rng.bytes()).into_uuid());
    let mut tx = ctx.begin().await?;
    let before = store::lock(&mut *tx, user_id).await?;
    store::put(&mut *tx, id, object, content_type, ctx.now()).await?;
    let user = change(tx, Event::AvatarChanged).await?;
    delete_object(storage, ctx, before).await;
    Ok(user)
}

/// Removes the picture and its address. Repeated, it has no effect.
pub(super) async fn delete(ctx: &CallerCtx) -> Result<(), Error> {
    let user_id = ctx.user_id();
    let mut tx = ctx.begin().await?;
    let Some(object_id) = store::lock(&mut *tx, user_id).await? else {
        return Ok(());
    };
    store::delete(&mut *tx, AvatarObject { user_id, object_id }).await?;
    change(tx, Event::AvatarRemoved).await?;
    if let Some(storage) = &ctx.storage {
        delete_object(storage, ctx, Some(object_id)).await;
    }
    Ok(())
}

/// Sets the time of the change, audits and commits it.
async fn change(mut tx: Tx<'_>, event: Event) -> Result<User, Error> {
    let ctx = tx.ctx();
    let caller = ctx.caller().ok_or(Error::NotFound)?;
    let (root, none) = (ctx.avatar_root.clone(), ProfileChanges::default());
    let user = users::update(&mut *tx, caller.user_id, &none, &root, ctx.now()).await?;
    let detail = json!({ "api_key": caller.credential.api_key_id() });
    tx.audit(event.detail(detail)).await?;
    tx.commit().await?;
    Ok(user)
}

/// What cannot be deleted now the sweep deletes.
async fn delete_object(storage: &ObjectStore, ctx: &CallerCtx, object_id: Option<Uuid>) {
    let Some(object_id) = object_id else { return };
    let user_id = ctx.user_id();
    let object = AvatarObject { user_id, object_id };
    if let Err(error) = storage.delete(&object.key()).await {
        tracing::debug!(%error, "an object is left to the sweep");
    }
}

/// Key of the object of a user's picture.
pub async fn find_key(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<String>, sqlx::Error> {
    let object_id = store::find_object(conn, user_id).await?;
    Ok(object_id.map(|object_id| AvatarObject { user_id, object_id }.key()))
}

/// Those of these keys that are of a user's present picture.
pub async fn list_known_keys<'a>(
    conn: impl PgExecutor<'_>,
    keys: &[&'a str],
) -> Result<Vec<&'a str>, sqlx::Error> {
    let of = |key: &&'a str| Some((*key, AvatarObject::parse(key)?));
    let objects: Vec<_> = keys.iter().filter_map(of).collect();
    let users: Vec<_> = objects.iter().map(|(_, it)| it.user_id.0).collect();
    let known = store::list_objects(conn, &users).await?;
    let is_known = |(_, it): &&(&str, AvatarObject)| known.contains(&it.object_id);
    Ok(objects
        .iter()
        .filter(is_known)
        .map(|(key, _)| *key)
        .collect())
}
