//! Storing, showing, restoring and deleting secrets. Changes of one secret run one after the other.

use crypto::{OpenError, Sealed};
use http_toolkit::Preconditions;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Error;
use super::jobs::NotifySecretRevealed;
use super::model::{
    Reveal, RevealedSecret, Secret, SecretName, SecretValue, SecretVersions, Version,
};
use super::store;
use crate::audit::Event;
use crate::auth;
use crate::ctx::{CallerCtx, Ctx, Tx, UserCtx};
use crate::ids::{AccountId, SecretId};
use crate::roles::Permission;
use crate::scope::Scope;
use crate::sealed::SECRET_VALUES;
use crate::{organisations, plans};

/// Stores a value as the next version; returns whether the secret is new.
pub(super) async fn put(
    ctx: &CallerCtx,
    name: &SecretName,
    value: &SecretValue,
    conditions: &Preconditions,
) -> Result<(Secret, bool), Error> {
    let account_id = ctx.account_id();
    let plan = plans::plan_of(ctx, account_id).await?;
    let most = plan.tier(&ctx.plans).secrets;
    let mut tx = ctx.begin().await?;
    if !store::lock(&mut *tx, account_id, name).await? {
        // Serializes creations, so that each counts the secrets of the one before.
        if !organisations::lock_account(&mut *tx, account_id).await? {
            return Err(Error::NotFound);
        }
        store::lock(&mut *tx, account_id, name).await?;
    }
    let found = store::find(&mut *tx, account_id, name).await?;
    check(conditions, found.as_ref())?;
    let is_new = found.is_none();
    let stored = if let Some(secret) = found {
        store_version(&mut tx, account_id, secret, value).await?
    } else {
        let count = store::count(&mut *tx, account_id).await?;
        if let Some(most) = most
            && count >= most.into()
        {
            return Err(Error::TooMany(most));
        }
        create(&mut tx, account_id, name, value).await?
    };
    let event = if is_new {
        Event::SecretCreated
    } else {
        Event::SecretChanged
    };
    tx.audit(event.detail(detail(ctx, &stored))).await?;
    tx.commit().await?;
    Ok((stored, is_new))
}

/// Stores the value of an earlier version as the next one.
pub(super) async fn restore(
    ctx: &CallerCtx,
    name: &SecretName,
    version: Version,
    conditions: &Preconditions,
) -> Result<Secret, Error> {
    let mut tx = ctx.begin().await?;
    let secret = lock(&mut tx, ctx.account_id(), name).await?;
    check(conditions, Some(&secret))?;
    let value = read(&mut tx, ctx.account_id(), secret.id, version).await?;
    let value = value.ok_or(Error::VersionNotKept)?;
    let stored = store_version(&mut tx, ctx.account_id(), secret, &value).await?;
    let mut detail = detail(ctx, &stored);
    detail["restored"] = json!(version);
    tx.audit(Event::SecretRestored.detail(detail)).await?;
    tx.commit().await?;
    Ok(stored)
}

/// Shows the value to a person after reauthentication. Those who manage secrets get an email, once a day for each secret.
pub(super) async fn reveal(
    ctx: &UserCtx,
    name: &SecretName,
    asked: Reveal,
) -> Result<RevealedSecret, Error> {
    let account_id = ctx.account_id();
    let (code, recovery_code) = (asked.code, asked.recovery_code);
    let proof = auth::ReauthProof::new("password", asked.password, code, recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    auth::recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let secret = lock(&mut tx, account_id, name).await?;
    let value = read(&mut tx, account_id, secret.id, secret.version).await?;
    let value = value.ok_or(sqlx::Error::RowNotFound)?;
    store::update_revealed(&mut *tx, account_id, secret.id, now).await?;
    let detail = json!({ "secret": name, "version": secret.version });
    tx.audit(Event::SecretRevealed.detail(detail)).await?;
    let last = secret.revealed_at.map(|at| at.date_naive());
    if last != Some(now.date_naive()) {
        let recipients = if account_id == ctx.user_id().personal_account() {
            vec![ctx.user_id()]
        } else {
            organisations::list_with_permission(&mut *tx, account_id, Permission::SecretsWrite)
                .await?
        };
        for recipient in recipients {
            let job = NotifySecretRevealed::to(recipient, account_id, name.clone(), ctx.user_id());
            job_queue::enqueue(&mut *tx, &job, None).await?;
        }
    }
    tx.commit().await?;
    Ok(RevealedSecret {
        name: secret.name,
        version: secret.version,
        value: value.expose().to_owned(),
    })
}

/// Reads a secret for the product's own code, which uses it on behalf of the account; `None` if the account has none of
/// this name. Audited.
pub async fn open(
    ctx: &Ctx,
    account_id: AccountId,
    name: &SecretName,
) -> Result<Option<SecretValue>, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let found = store::find_current_value(&mut *tx, account_id, name).await?;
    let Some((id, version, sealed)) = found else {
        return Ok(None);
    };
    let value = decrypt(ctx, account_id, id, version, &sealed).await?;
    let entry = Event::SecretUsed.in_account(account_id);
    let detail = json!({ "secret": name, "version": version });
    tx.audit(entry.detail(detail)).await?;
    tx.commit().await?;
    Ok(Some(value))
}

pub(super) async fn list_versions(
    ctx: &CallerCtx,
    name: &SecretName,
) -> Result<SecretVersions, Error> {
    let mut tx = ctx.begin().await?;
    let secret = store::find(&mut *tx, ctx.account_id(), name).await?;
    let secret = secret.ok_or(Error::NotFound)?;
    let items = store::list_versions(&mut *tx, ctx.account_id(), secret.id).await?;
    tx.commit().await?;
    Ok(SecretVersions { items })
}

pub(super) async fn delete(
    ctx: &CallerCtx,
    name: &SecretName,
    conditions: &Preconditions,
) -> Result<(), Error> {
    let mut tx = ctx.begin().await?;
    let secret = lock(&mut tx, ctx.account_id(), name).await?;
    check(conditions, Some(&secret))?;
    store::delete(&mut *tx, ctx.account_id(), secret.id).await?;
    tx.audit(Event::SecretDeleted.detail(detail(ctx, &secret)))
        .await?;
    tx.commit().await?;
    Ok(())
}

fn check(conditions: &Preconditions, current: Option<&Secret>) -> Result<(), Error> {
    let etag = current.map(Secret::etag);
    conditions
        .hold(etag.as_ref())
        .then_some(())
        .ok_or(Error::PreconditionFailed)
}

fn detail(ctx: &CallerCtx, secret: &Secret) -> Value {
    let api_key = ctx.credential().api_key_id();
    json!({ "secret": secret.name, "version": secret.version, "api_key": api_key })
}

/// Locks a secret, and reads it under the lock.
async fn lock(tx: &mut Tx<'_>, account_id: AccountId, name: &SecretName) -> Result<Secret, Error> {
    if !store::lock(&mut **tx, account_id, name).await? {
        return Err(Error::NotFound);
    }
    let found = store::find(&mut **tx, account_id, name).await?;
    found.ok_or(Error::NotFound)
}

async fn create(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    name: &SecretName,
    value: &SecretValue,
) -> Result<Secret, Error> {
    let now = tx.ctx().now();
    let secret = Secret {
        id: SecretId::new(now, &tx.ctx().rng),
        name: name.clone(),
        version: Version::FIRST,
        last_four: value.last_four(),
        created_at: now,
        updated_at: now,
        revealed_at: None,
    };
    store::insert(&mut **tx, account_id, secret.id, name, now).await?;
    insert_version(tx, account_id, &secret, value).await?;
    Ok(secret)
}

async fn store_version(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    before: Secret,
    value: &SecretValue,
) -> Result<Secret, Error> {
    let now = tx.ctx().now();
    let secret = Secret {
        version: before.version.next(),
        last_four: value.last_four(),
        updated_at: now,
        ..before
    };
    store::update_version(&mut **tx, account_id, secret.id, secret.version, now).await?;
    insert_version(tx, account_id, &secret, value).await?;
    Ok(secret)
}

async fn insert_version(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    secret: &Secret,
    value: &SecretValue,
) -> Result<(), Error> {
    let row = row(account_id, secret.id, secret.version);
    let sealed = SECRET_VALUES.seal(tx.ctx(), &row, value.expose().as_bytes());
    let value = (&sealed, secret.last_four.as_deref());
    let (id, version, now) = (secret.id, secret.version, secret.updated_at);
    store::insert_version(&mut **tx, account_id, id, version, value, now).await?;
    Ok(())
}

/// Decrypts the value of a version; `None` if it is not kept.
async fn read(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    id: SecretId,
    version: Version,
) -> Result<Option<SecretValue>, Error> {
    match store::find_value(&mut **tx, account_id, id, version).await? {
        Some(sealed) => {
            let value = decrypt(tx.ctx(), account_id, id, version, &sealed).await?;
            Ok(Some(value))
        }
        None => Ok(None),
    }
}

async fn decrypt(
    ctx: &Ctx,
    account_id: AccountId,
    id: SecretId,
    version: Version,
    sealed: &Sealed,
) -> Result<SecretValue, Error> {
    let row = row(account_id, id, version);
    let opened = SECRET_VALUES.open(ctx, account_id, &row, sealed).await?;
    let text = std::str::from_utf8(opened.expose()).map(str::to_owned);
    match text.ok().and_then(|text| SecretValue::try_from(text).ok()) {
        Some(value) => Ok(value),
        None => Err(SECRET_VALUES
            .report(ctx, account_id, OpenError::Damaged)
            .await
            .into()),
    }
}

/// The key of a version as associated data.
const fn row(account_id: AccountId, id: SecretId, version: Version) -> [Uuid; 3] {
    [account_id.0, id.0, version.as_uuid()]
}
