//! Changes to the members of an organisation. Each locks the account's row first, so that they are made one after the
//! other, and reads the caller's role again: it may have changed since the request began.

use serde_json::json;

use crate::audit::Event;
use crate::auth;
use crate::ctx::{Tx, UserCtx};
use crate::ids::UserId;
use crate::organisations::error::Error;
use crate::organisations::jobs::{MemberEvent, notify, notify_owners};
use crate::organisations::membership::forget_membership;
use crate::organisations::model::Transfer;
use crate::organisations::model::members::Member;
use crate::organisations::store::{invitations, lock_account, members as store};
use crate::roles::{AccountRole, Permission};

/// Begins a change; returns the caller's role, which permits what `permission` says.
pub(in super::super) async fn begin_change(
    ctx: &UserCtx,
    permission: Permission,
) -> Result<(Tx<'_>, AccountRole), Error> {
    let mut tx = ctx.begin().await?;
    if !lock_account(&mut *tx, ctx.account_id()).await? {
        return Err(Error::NotFound);
    }
    let role = store::find_role(&mut *tx, ctx.account_id(), ctx.user_id()).await?;
    let role = role.ok_or(Error::NotFound)?;
    role.permissions().require(permission)?;
    Ok((tx, role))
}

/// Fails if `user_id` is the last owner.
async fn keep_an_owner(tx: &mut Tx<'_>, ctx: &UserCtx, user_id: UserId) -> Result<(), Error> {
    let owners = store::list_owners(&mut **tx, ctx.account_id()).await?;
    if owners == [user_id] {
        return Err(Error::LastOwner);
    }
    Ok(())
}

async fn get_member(tx: &mut Tx<'_>, ctx: &UserCtx, user_id: UserId) -> Result<Member, Error> {
    let member = store::get(&mut **tx, ctx.account_id(), user_id, &ctx.avatar_root).await?;
    member.ok_or(Error::NotFound)
}

/// Nobody changes a member who may do more than they may themselves, or grants what they do not have.
pub(super) async fn change_role(
    ctx: &UserCtx,
    user_id: UserId,
    role: AccountRole,
) -> Result<Member, Error> {
    let (mut tx, own) = begin_change(ctx, Permission::MembersWrite).await?;
    let mut member = get_member(&mut tx, ctx, user_id).await?;
    let from = member.role;
    own.permissions().require_all(from.permissions())?;
    own.permissions().require_all(role.permissions())?;
    if from == role {
        return Ok(member);
    }
    if from == AccountRole::Owner {
        keep_an_owner(&mut tx, ctx, user_id).await?;
    }
    store::set_role(&mut *tx, ctx.account_id(), user_id, role, ctx.now()).await?;
    member.role = role;
    let mut revoked = 0;
    if role.permissions().require_all(from.permissions()).is_err() {
        revoked = invitations::delete_of_member(&mut *tx, ctx.account_id(), user_id).await?;
    }
    let detail = json!({ "from": from, "to": role, "revoked_invitations": revoked });
    tx.audit(Event::MemberRoleChanged.about(user_id).detail(detail))
        .await?;
    let recipients = [user_id];
    notify(
        &mut tx,
        ctx.account_id(),
        recipients,
        MemberEvent::RoleChanged,
        user_id,
    )
    .await?;
    tx.commit().await?;
    forget_membership(ctx, ctx.account_id(), user_id).await;
    Ok(member)
}

pub(super) async fn remove(ctx: &UserCtx, user_id: UserId) -> Result<(), Error> {
    let (mut tx, own) = begin_change(ctx, Permission::MembersWrite).await?;
    let member = get_member(&mut tx, ctx, user_id).await?;
    own.permissions().require_all(member.role.permissions())?;
    end_membership(ctx, tx, &member, Event::MemberRemoved).await
}

pub(super) async fn leave(ctx: &UserCtx) -> Result<(), Error> {
    let (mut tx, _) = begin_change(ctx, Permission::OrganisationRead).await?;
    let member = get_member(&mut tx, ctx, ctx.user_id()).await?;
    end_membership(ctx, tx, &member, Event::MemberLeft).await
}

/// The API keys that the member created stay: they belong to the organisation, and the owners are asked to review them.
async fn end_membership(
    ctx: &UserCtx,
    mut tx: Tx<'_>,
    member: &Member,
    event: Event,
) -> Result<(), Error> {
    let (account_id, user_id) = (ctx.account_id(), member.user_id);
    if member.role == AccountRole::Owner {
        keep_an_owner(&mut tx, ctx, user_id).await?;
    }
    store::delete(&mut *tx, account_id, user_id).await?;
    // Otherwise a member who expects to be removed could invite another address of theirs.
    let revoked = invitations::delete_of_member(&mut *tx, account_id, user_id).await?;
    let detail = json!({ "role": member.role, "revoked_invitations": revoked });
    tx.audit(event.about(user_id).detail(detail)).await?;
    if event == Event::MemberRemoved {
        notify(
            &mut tx,
            account_id,
            [user_id],
            MemberEvent::Removed,
            user_id,
        )
        .await?;
    }
    notify_owners(&mut tx, account_id, MemberEvent::Left, user_id).await?;
    tx.commit().await?;
    forget_membership(ctx, account_id, user_id).await;
    Ok(())
}

/// Makes another member an owner, and the caller an administrator.
pub(super) async fn transfer(ctx: &UserCtx, wanted: Transfer) -> Result<(), Error> {
    let (code, recovery_code) = (wanted.code, wanted.recovery_code);
    let proof = auth::ReauthProof::new("password", wanted.password, code, recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let (mut tx, _) = begin_change(ctx, Permission::OrganisationOwn).await?;
    auth::recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let member = get_member(&mut tx, ctx, wanted.user_id).await?;
    if member.user_id == ctx.user_id() {
        return Ok(());
    }
    let (account_id, now) = (ctx.account_id(), ctx.now());
    for (user_id, role) in [
        (member.user_id, AccountRole::Owner),
        (ctx.user_id(), AccountRole::Admin),
    ] {
        store::set_role(&mut *tx, account_id, user_id, role, now).await?;
    }
    let detail = json!({ "from": ctx.user_id(), "to": member.user_id });
    tx.audit(
        Event::OwnershipTransferred
            .about(member.user_id)
            .detail(detail),
    )
    .await?;
    let both = [member.user_id, ctx.user_id()];
    notify(
        &mut tx,
        account_id,
        both,
        MemberEvent::Transferred,
        member.user_id,
    )
    .await?;
    tx.commit().await?;
    for user_id in both {
        forget_membership(ctx, account_id, user_id).await;
    }
    Ok(())
}
