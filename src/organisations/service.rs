//! Organisations: create, change, delete and restore.

use serde_json::json;

use super::error::Error;
use super::jobs::{MemberEvent, notify_owners};
use super::members::begin_change;
use super::membership::{forget_membership, forget_slug};
use super::model::{Deletion, NewOrganisation, Organisation, OrganisationChanges};
use super::store::{self, members};
use crate::audit::Event;
use crate::auth;
use crate::ctx::{Ctx, UserCtx};
use crate::ids::{AccountId, UserId};
use crate::plans;
use crate::roles::{AccountRole, Permission};
use crate::scope::{self, Exception, Scope};

pub(super) async fn create(ctx: &UserCtx, new: NewOrganisation) -> Result<Organisation, Error> {
    let (user_id, now) = (ctx.user_id(), ctx.now());
    let personal = user_id.personal_account();
    let plan = plans::plan_of(ctx, personal).await?;
    let most = plan.tier(&ctx.plans).organisations;
    let id = AccountId::new(now, &ctx.rng);
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Membership))
        .await?;
    // Serializes concurrent calls, so that each counts the organisation of the one before.
    if !store::lock_account(&mut *tx, personal).await? {
        return Err(Error::NotFound);
    }
    let owned = members::count_owned(&mut *tx, user_id).await?;
    if let Some(most) = most.filter(|&most| owned >= most.into()) {
        return Err(Error::TooMany(most));
    }
    store::insert(&mut *tx, id, &new.name, now).await?;
    let free_since = now - ctx.organisations.slug_grace;
    if !store::set_slug(&mut tx, id, &new.slug, free_since, now).await? {
        return Err(Error::SlugTaken);
    }
    members::insert(&mut *tx, id, user_id, AccountRole::Owner, now).await?;
    let detail = json!({ "name": new.name, "slug": new.slug });
    let entry = Event::OrganisationCreated.in_account(id);
    tx.audit(entry.detail(detail)).await?;
    let organisation = store::find(&mut *tx, id, user_id).await?;
    let organisation = organisation.ok_or(Error::NotFound)?;
    tx.commit_created(&organisation).await?;
    forget_slug(ctx, &new.slug).await;
    Ok(organisation)
}

pub(super) async fn update(
    ctx: &UserCtx,
    changes: OrganisationChanges,
) -> Result<Organisation, Error> {
    let (id, now) = (ctx.account_id(), ctx.now());
    let (mut tx, _) = begin_change(ctx, Permission::OrganisationWrite).await?;
    let before = store::find(&mut *tx, id, ctx.user_id()).await?;
    let before = before.ok_or(Error::NotFound)?;
    store::set_name(&mut *tx, id, changes.name.as_ref(), now).await?;
    if let Some(slug) = &changes.slug {
        // The slug may be a former one of another organisation.
        scope::set(&mut *tx, Scope::Exception(Exception::Membership)).await?;
        let free_since = now - ctx.organisations.slug_grace;
        if !store::set_slug(&mut tx, id, slug, free_since, now).await? {
            return Err(Error::SlugTaken);
        }
    }
    let detail = json!({ "name": changes.name, "slug": changes.slug });
    tx.audit(Event::OrganisationChanged.detail(detail)).await?;
    let after = store::find(&mut *tx, id, ctx.user_id()).await?;
    tx.commit().await?;
    if let Some(slug) = changes.slug {
        forget_slug(ctx, &slug).await;
        forget_slug(ctx, &before.slug).await;
    }
    after.ok_or(Error::NotFound)
}

/// Nobody can act for the organisation from then on.
pub(super) async fn delete(ctx: &UserCtx, deletion: Deletion) -> Result<(), Error> {
    let (code, recovery_code) = (deletion.code, deletion.recovery_code);
    let proof = auth::ReauthProof::new("password", deletion.password, code, recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let (id, now) = (ctx.account_id(), ctx.now());
    let (mut tx, _) = begin_change(ctx, Permission::OrganisationOwn).await?;
    auth::recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    store::set_deleted(&mut *tx, id, Some(now), now, now).await?;
    let purged_at = now + ctx.organisations.deletion_grace;
    let detail = json!({ "purged_at": purged_at });
    tx.audit(Event::OrganisationDeleted.detail(detail)).await?;
    notify_owners(&mut tx, id, MemberEvent::Deleted, ctx.user_id()).await?;
    let all = members::list_ids(&mut *tx, id).await?;
    tx.commit().await?;
    forget_memberships(ctx, id, all).await;
    Ok(())
}

/// By an owner; for all others there is no such organisation.
pub(super) async fn restore(ctx: &UserCtx, id: AccountId) -> Result<Organisation, Error> {
    let now = ctx.now();
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Membership))
        .await?;
    let found = store::find(&mut *tx, id, ctx.user_id()).await?;
    let is_owner = found.is_some_and(|it| it.role == AccountRole::Owner);
    let restorable_since = now - ctx.organisations.deletion_grace;
    if !is_owner || !store::set_deleted(&mut *tx, id, None, restorable_since, now).await? {
        return Err(Error::NotFound);
    }
    tx.audit(Event::OrganisationRestored.in_account(id)).await?;
    notify_owners(&mut tx, id, MemberEvent::Restored, ctx.user_id()).await?;
    let restored = store::find(&mut *tx, id, ctx.user_id()).await?;
    let all = members::list_ids(&mut *tx, id).await?;
    tx.commit().await?;
    forget_memberships(ctx, id, all).await;
    restored.ok_or(Error::NotFound)
}

async fn forget_memberships(ctx: &Ctx, id: AccountId, members: Vec<UserId>) {
    for user_id in members {
        forget_membership(ctx, id, user_id).await;
    }
}
