//! Invite, resend, revoke, accept and decline.

use email_transport::EmailAddress;
use http_toolkit::spend;
use rate_limit::{Key, LimitCheck};
use serde_json::json;

use super::error::Error;
use super::jobs::SendInvitation;
use crate::audit::Event;
use crate::ctx::{Ctx, Tx, UserCtx};
use crate::ids::{AccountId, InvitationId};
use crate::organisations::error::Error as OrganisationError;
use crate::organisations::jobs::{MemberEvent, notify_owners};
use crate::organisations::members::begin_change;
use crate::organisations::membership::forget_membership;
use crate::organisations::model::invitations::{
    Acceptance, Invitation, Joined, NewInvitation, OwnInvitation,
};
use crate::organisations::store::invitations::{self as store, NewRow};
use crate::organisations::store::lock_account;
use crate::plans;
use crate::roles::Permission;
use crate::scope::{Exception, Scope};
use crate::users;

/// Emails that one organisation can cause.
async fn spend_limit(ctx: &UserCtx) -> Result<(), Error> {
    let check = LimitCheck::spend(ctx.limits.invitations, Key::user(ctx.account_id().0));
    spend(&ctx.limiter, &[check]).await.map_err(Error::Limited)
}

/// The caller's verified address.
async fn own_address(ctx: &UserCtx) -> Result<EmailAddress, Error> {
    let own = users::find_verified_address(&ctx.db, ctx.user_id()).await?;
    own.ok_or(Error::Invalid)
}

/// The response is the same whether or not the address has an account, or has declined before.
pub(super) async fn invite(ctx: &UserCtx, new: NewInvitation) -> Result<Invitation, Error> {
    if own_address(ctx).await? == new.email {
        return Err(Error::Oneself);
    }
    let plan = plans::plan_of(ctx, ctx.account_id()).await?;
    let seats = plan.tier(&ctx.plans).seats;
    spend_limit(ctx).await?;
    let now = ctx.now();
    let (mut tx, own) = begin_change(ctx, Permission::InvitationsWrite).await?;
    own.permissions().require_all(new.role.permissions())?;
    if store::is_member(&mut *tx, ctx.account_id(), &new.email).await? {
        return Err(Error::AlreadyMember);
    }
    let row = NewRow {
        id: InvitationId::new(now, &ctx.rng),
        account_id: ctx.account_id(),
        email: &new.email,
        role: new.role,
        invited_by: ctx.user_id(),
        expires_at: now + ctx.organisations.invitation_ttl,
    };
    let most = ctx.organisations.max_invitations;
    let added = store::insert(&mut *tx, &row, seats, most, now).await?;
    if added.id.is_none() {
        return Err(no_room(added.open, most));
    }
    enqueue_email(&mut tx, ctx.account_id(), row.id, &new.email).await?;
    let detail = json!({ "invitation": row.id, "role": new.role });
    tx.audit(Event::MemberInvited.detail(detail)).await?;
    let invitation = Invitation {
        id: row.id,
        role: new.role,
        invited_by: Some(ctx.user_id()),
        created_at: now,
        expires_at: row.expires_at,
        email: new.email.clone(),
    };
    tx.commit_created(&invitation).await?;
    Ok(invitation)
}

/// Why an invitation cannot be open beside `open` others.
fn no_room(open: i64, most: u32) -> Error {
    if open >= most.into() {
        Error::TooMany(most)
    } else {
        Error::NoSeats
    }
}

/// One email waits for each address and organisation, so that replaced invitations do not use up the recipient's limit.
async fn enqueue_email(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    id: InvitationId,
    email: &EmailAddress,
) -> Result<(), Error> {
    if !store::is_blocked(&mut **tx, account_id, email).await? {
        let job = SendInvitation::to(email.clone(), id);
        let key = format!("{}:{account_id}", job.key());
        job_queue::enqueue(&mut **tx, &job, Some(&key)).await?;
    }
    Ok(())
}

/// Sends the email again, with another link, and gives the invitation its whole time.
pub(super) async fn resend(ctx: &UserCtx, id: InvitationId) -> Result<(), Error> {
    let plan = plans::plan_of(ctx, ctx.account_id()).await?;
    let seats = plan.tier(&ctx.plans).seats;
    spend_limit(ctx).await?;
    let (mut tx, own) = begin_change(ctx, Permission::InvitationsWrite).await?;
    let now = ctx.now();
    let expires_at = now + ctx.organisations.invitation_ttl;
    let most = ctx.organisations.max_invitations;
    let ids = (ctx.account_id(), id);
    let found = store::renew(&mut *tx, ids, expires_at, seats, most, now).await?;
    let invitation = found.ok_or(OrganisationError::NotFound)?;
    own.permissions()
        .require_all(invitation.role.permissions())?;
    if !invitation.has_room {
        return Err(no_room(invitation.open, most));
    }
    enqueue_email(&mut tx, ctx.account_id(), id, &invitation.email).await?;
    let detail = json!({ "invitation": id, "role": invitation.role, "resent": true });
    tx.audit(Event::MemberInvited.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn revoke(ctx: &UserCtx, id: InvitationId) -> Result<(), Error> {
    let (mut tx, _) = begin_change(ctx, Permission::InvitationsWrite).await?;
    let deleted = store::delete(&mut *tx, ctx.account_id(), id).await?;
    deleted.ok_or(OrganisationError::NotFound)?;
    let detail = json!({ "invitation": id });
    tx.audit(Event::InvitationRevoked.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

/// All invitations that are not valid have the same response. That of a member is used up and changes nothing.
pub(super) async fn accept(ctx: &UserCtx, acceptance: Acceptance) -> Result<Joined, Error> {
    let (user_id, email, now) = (ctx.user_id(), own_address(ctx).await?, ctx.now());
    let (token, id) = (acceptance.token.map(|it| it.hash()), acceptance.id);
    let scope = Scope::Exception(Exception::Invitation);
    let mut tx = ctx.begin_scoped(scope).await?;
    let found = store::find_valid(&mut *tx, token, id, Some(&email), now).await?;
    tx.commit().await?;
    let (account_id, invitation) = found.ok_or(Error::Invalid)?;
    let plan = plans::plan_of(ctx, account_id).await?;
    let seats = plan.tier(&ctx.plans).seats;

    let mut tx = ctx.begin_scoped(scope).await?;
    if !lock_account(&mut *tx, account_id).await? {
        return Err(Error::Invalid);
    }
    let ids = (account_id, invitation.id);
    let attempt = store::accept(&mut *tx, ids, (user_id, &email), seats, now).await?;
    let attempt = attempt.ok_or(Error::Invalid)?;
    if attempt.has_joined {
        let detail = json!({ "invitation": invitation.id, "role": attempt.role });
        let entry = Event::MemberJoined.in_account(account_id);
        tx.audit(entry.about(user_id).detail(detail)).await?;
        notify_owners(&mut tx, account_id, MemberEvent::Joined, user_id).await?;
    } else if !attempt.was_member {
        return Err(Error::NoSeats);
    }
    tx.commit().await?;
    forget_membership(ctx, account_id, user_id).await;
    Ok(Joined {
        account_id,
        organisation: attempt.organisation,
        role: attempt.role,
    })
}

/// by the holder of the link, signed in or not.
pub(super) async fn decline_by_link(
    ctx: &Ctx,
    token: session_tokens::TokenHash,
) -> Result<(), Error> {
    decline(ctx, (Some(token), None), None).await
}

/// By the invited user.
pub(super) async fn decline_own(ctx: &UserCtx, id: InvitationId) -> Result<(), Error> {
    let email = own_address(ctx).await?;
    match decline(ctx, (None, Some(id)), Some(&email)).await {
        Err(Error::Invalid) => Err(OrganisationError::NotFound.into()),
        declined => declined,
    }
}

async fn decline(
    ctx: &Ctx,
    (token, id): (Option<session_tokens::TokenHash>, Option<InvitationId>),
    email: Option<&EmailAddress>,
) -> Result<(), Error> {
    let now = ctx.now();
    let scope = Scope::Exception(Exception::Invitation);
    let mut tx = ctx.begin_scoped(scope).await?;
    let found = store::find_valid(&mut *tx, token, id, email, now).await?;
    let (account_id, invitation) = found.ok_or(Error::Invalid)?;
    if !store::decline(&mut *tx, account_id, invitation.id, now).await? {
        return Err(Error::Invalid);
    }
    let entry = Event::InvitationDeclined.in_account(account_id);
    let detail = json!({ "invitation": invitation.id });
    tx.audit(entry.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn preview(
    ctx: &Ctx,
    token: session_tokens::TokenHash,
) -> Result<OwnInvitation, Error> {
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Invitation))
        .await?;
    let found = store::find_valid(&mut *tx, Some(token), None, None, ctx.now()).await?;
    tx.commit().await?;
    Ok(found.ok_or(Error::Invalid)?.1)
}
