//! Sign-up, and proof of an address by an emailed link.

use crypto::{MacRing, TriedPassword};
use email_transport::EmailAddress;

use super::jobs::{SendAlreadyRegistered, SendVerification};
use super::model::{AddressProof, NewAccount};
use crate::audit::Event;
use crate::auth::credentials::{apply_email_change, check_new_password};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::links::{self, Link};
use crate::consents;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::users::{self, NewUser, SignUp, SignUpCredentials};

/// A known address costs the same as a new one: one hash, the same statements and one email.
pub(crate) async fn register(ctx: &Ctx, new: NewAccount) -> Result<(), Error> {
    let accepted = consents::check_documents(&ctx.privacy, new.documents(), true)?;
    let password = check_new_password(ctx, new.password, &new.email, "password").await?;
    let salt = sign_up_salt(&ctx.sign_up_macs, &new.email);
    let password_hash = ctx.hasher.hash_with_salt(password, salt).await?;
    let now = ctx.now();
    let user = NewUser {
        id: UserId::new(now, &ctx.rng),
        email: new.email.clone(),
        password_hash,
        first_name: new.first_name,
        last_name: new.last_name,
    };
    let mut tx = ctx.begin().await?;
    let sign_up = users::sign_up(&mut tx, &user, now).await?;
    let (event, user_id) = match sign_up {
        SignUp::Pending(id) => {
            let job = SendVerification::to(new.email);
            job_queue::enqueue(&mut *tx, &job, Some(&job.key())).await?;
            (Event::Registered, id)
        }
        SignUp::Known(id) => {
            let job = SendAlreadyRegistered::to(new.email);
            job_queue::enqueue(&mut *tx, &job, Some(&job.key())).await?;
            (Event::RegisteredAgain, id)
        }
    };
    if !accepted.is_empty() {
        let is_pending = matches!(sign_up, SignUp::Pending(_));
        consents::accept_at_sign_up(&mut tx, user_id, &accepted, is_pending).await?;
    }
    tx.audit(event.about(user_id)).await?;
    tx.commit().await?;
    Ok(())
}

/// One salt per address, so that sign-ups with the same password have the same hash. Requires our key.
fn sign_up_salt(macs: &MacRing, email: &EmailAddress) -> [u8; 16] {
    let mac = macs.sign(&[email.as_str().as_bytes()]);
    std::array::from_fn(|at| mac[at])
}

pub(crate) async fn verify_email(ctx: &Ctx, proof: AddressProof) -> Result<(), Error> {
    let link = links::find(&ctx.db, proof.token.hash(), links::ADDRESS_LINKS, ctx.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    match &link.new_email {
        Some(email) => apply_email_change(ctx, &link, email).await,
        None => confirm_sign_up(ctx, &link, proof.password).await,
    }
}

/// A link proves the address, but not which of several sign-ups is its owner's: a stranger may have signed up first
/// or last. So the password selects one.
async fn confirm_sign_up(
    ctx: &Ctx,
    link: &Link,
    password: Option<TriedPassword>,
) -> Result<(), Error> {
    let pending = users::list_sign_ups(&ctx.db, link.user_id).await?;
    let is_chosen = password.is_some();
    let chosen = choose(ctx, pending, password).await?;
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let change = begin_credentials_change(&mut tx, link.user_id, Some(link.version))
        .await?
        .ok_or(Error::InvalidLink)?;
    // The row is locked: no other sign-up can be added.
    let pending = users::list_sign_ups(&mut *tx, link.user_id).await?;
    if !is_chosen && pending.len() > 1 {
        return Err(Error::PasswordRequired("password"));
    }
    let is_pending = |it: &SignUpCredentials| it.password_hash == chosen.password_hash;
    if !pending.iter().any(is_pending)
        || !users::confirm_sign_up(&mut *tx, &change, &chosen, now).await?
    {
        return Err(Error::InvalidLink);
    }
    if pending.len() > 1 {
        consents::delete_of_sign_ups(&mut *tx, link.user_id).await?;
    }
    if let Some(user) = users::find_own_credentials(&mut *tx, link.user_id).await? {
        links::accept_emails_again(&mut tx, &user.email).await?;
    }
    tx.audit(Event::EmailVerified.by(link.user_id)).await?;
    tx.commit().await?;
    Ok(())
}

async fn choose(
    ctx: &Ctx,
    mut pending: Vec<SignUpCredentials>,
    password: Option<TriedPassword>,
) -> Result<SignUpCredentials, Error> {
    let Some(password) = password else {
        return match (pending.pop(), pending.is_empty()) {
            (None, _) => Err(Error::InvalidLink),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Error::PasswordRequired("password")),
        };
    };
    let password = password.into_secret();
    for sign_up in pending {
        let is_right = ctx.hasher.verify(password.clone(), &sign_up.password_hash);
        if is_right.await?.is_some() {
            return Ok(sign_up);
        }
    }
    Err(Error::WrongPassword("password"))
}
