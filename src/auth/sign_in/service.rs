//! Signing up and signing in: what takes several steps.

use super::attempts::Attempt;
use super::error::Error;
use super::jobs::{SendAlreadyRegistered, SendVerification};
use super::model::{NewAccount, Outcome, SignIn};
use super::policy;
use super::second_factor;
use super::session::begin_session;
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::UserId;
use crate::infra::{MacRing, PasswordForm, begin};
use crate::jobs;
use crate::metrics;
use crate::mfa;
use crate::state::AppState;
use crate::users::{self, EmailAddress, NewUser, SignUp};

/// Signs somebody up, or writes to the owner of an account that exists. Both cost the same: one
/// hash, the same statements and one letter.
pub(super) async fn register(
    state: &AppState,
    new: NewAccount,
    origin: &Origin,
) -> Result<(), Error> {
    let password = policy::admit(state, new.password, &new.email, "password").await?;
    let salt = sign_up_salt(&state.sign_up_macs, &new.email);
    let password_hash = state.hasher.hash_with_salt(password, salt).await?;
    let now = state.clock.now();
    let user = NewUser {
        id: UserId::new(now, &state.rng),
        email: new.email.clone(),
        password_hash,
        first_name: new.first_name,
        last_name: new.last_name,
    };
    let mut tx = begin(&state.db).await?;
    let (event, user_id) = match users::sign_up(&mut tx, &user, now).await? {
        SignUp::Pending(id) => {
            let job = SendVerification::to(new.email);
            jobs::enqueue(&mut *tx, &job, Some(&job.key())).await?;
            (Event::Registered, id)
        }
        SignUp::Known(id) => {
            let job = SendAlreadyRegistered::to(new.email);
            jobs::enqueue(&mut *tx, &job, Some(&job.key())).await?;
            (Event::RegisteredAgain, id)
        }
    };
    audit::record(
        &mut *tx,
        Entry::befell(event, Some(user_id), None, origin),
        now,
        &state.rng,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The salt of passwords that somebody signs up with: one for each address, so that two sign-ups with
/// the same password are seen to be one without another hash. It cannot be computed without our key.
fn sign_up_salt(macs: &MacRing, email: &EmailAddress) -> [u8; 16] {
    let mac = macs.sign(&[email.as_str().as_bytes()]);
    std::array::from_fn(|at| mac[at])
}

/// Begins a session for whoever knows the password and has not tried too often. An unknown address
/// costs as much time as a wrong password: the same look-ups, a hash and a line in the log.
pub(super) async fn log_in(
    state: &AppState,
    sign_in: SignIn,
    origin: &Origin,
) -> Result<Outcome, Error> {
    let result = try_log_in(state, sign_in, origin).await;
    metrics::count_sign_in(match &result {
        Ok(Outcome::Session(_)) => metrics::SignIn::SignedIn,
        Ok(Outcome::SecondFactor(_)) => metrics::SignIn::Asked,
        Err(Error::InvalidCredentials) => metrics::SignIn::Refused,
        Err(Error::TooManyAttempts(_)) => metrics::SignIn::Locked,
        Err(Error::EmailNotVerified) => metrics::SignIn::Unverified,
        Err(Error::AccountDisabled) => metrics::SignIn::Disabled,
        Err(Error::Busy(_)) => metrics::SignIn::Busy,
        Err(_) => metrics::SignIn::Failed,
    });
    result
}

async fn try_log_in(state: &AppState, sign_in: SignIn, origin: &Origin) -> Result<Outcome, Error> {
    let found = users::find_credentials(&state.db, &sign_in.email).await?;
    let user_id = found.as_ref().map(|account| account.user_id);
    let attempt = Attempt::begin(state, &sign_in.email, user_id, origin).await?;
    let password = sign_in.password.into_secret();
    let form = if let Some(account) = &found {
        let hash = &account.password_hash;
        state.hasher.verify(password.clone(), hash).await?
    } else {
        state.hasher.verify_nobody(password.clone()).await?;
        None
    };
    let (Some(known), Some(form)) = (&found, form) else {
        return Err(attempt.fail().await?);
    };
    attempt.succeed().await?;
    let refused = match known {
        account if account.is_disabled => Some(("disabled", Error::AccountDisabled)),
        account if !account.is_verified => Some(("not_verified", Error::EmailNotVerified)),
        _ => None,
    };
    if let Some((reason, error)) = refused {
        let mut entry = Entry::befell(Event::SignInRefused, Some(known.user_id), None, origin);
        entry.detail = serde_json::json!({ "reason": reason });
        audit::record(&state.db, entry, state.clock.now(), &state.rng).await?;
        return Err(error);
    }
    if form == PasswordForm::Typed || state.hasher.is_outdated(&known.password_hash) {
        let new = state.hasher.hash(password.prepared).await?;
        users::rehash_password(&state.db, known.user_id, &known.password_hash, &new).await?;
    }
    if mfa::has_second_factor(&state.db, known.user_id).await? {
        let transport = sign_in.transport;
        let challenge =
            second_factor::ask(state, known.user_id, known.version, transport, origin).await?;
        return Ok(Outcome::SecondFactor(challenge));
    }
    let pair = begin_session(state, known.user_id, known.version, origin).await?;
    Ok(Outcome::Session(pair))
}
