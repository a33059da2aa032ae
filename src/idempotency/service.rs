//! Reserving keys, and storing replies in the transaction of their effect.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::error::Error;
use super::model::{KeyHash, MAX_REPLY, NewReservation, StoredReply, UsedKey, row_ids};
use super::store;
use crate::ctx::{Caller, Ctx, Reservation, ReservedKey, Tx};
use crate::scope::{self, Scope};
use crate::sealed::IDEMPOTENT_REPLIES;
use crate::state::AppState;

/// How much longer than the request timeout a key stays reserved after a crash.
const LEASE_MARGIN: Duration = Duration::from_mins(1);

/// What becomes of a request with a key.
pub(super) enum Outcome {
    Reserved(Held),
    Stored(StoredReply),
}

/// Reserves a key, or returns the stored reply. In a task of its own: if the client disconnects meanwhile, the
/// reservation is made and then released.
pub(super) async fn reserve(
    ctx: Ctx,
    caller: Caller,
    hash: KeyHash,
    message: Vec<u8>,
) -> Result<Outcome, Error> {
    let key = ReservedKey {
        account_id: caller.account_id(),
        user_id: caller.user_id,
        hash: hash.0,
    };
    let reserving = async move { reserve_now(&ctx, key, &message).await };
    tokio::spawn(reserving.in_current_span()).await?
}

async fn reserve_now(ctx: &Ctx, key: ReservedKey, message: &[u8]) -> Result<Outcome, Error> {
    let now = ctx.now();
    let new = NewReservation {
        key,
        holder: clock::uuid_v7(now, &ctx.rng),
        request_mac: ctx.idempotency_macs.sign(&[message]),
        locked_until: now + ctx.request_timeout + LEASE_MARGIN,
        expires_at: now + ctx.idempotency.ttl,
    };
    if store::insert(&ctx.db, &new, now).await? {
        let reservation = Reservation::new(key, new.holder);
        return Ok(Outcome::Reserved(Held(Some((
            AppState::clone(ctx),
            reservation,
        )))));
    }
    let mut tx = scope::begin(&ctx.db, Scope::Account(key.account_id)).await?;
    let used = store::find(&mut *tx, &key).await?;
    tx.commit().await?;
    // None if the other request has released it meanwhile.
    let used = used.ok_or(Error::InUse)?;
    read_reply(ctx, &key, &used, message)
        .await
        .map(Outcome::Stored)
}

async fn read_reply(
    ctx: &Ctx,
    key: &ReservedKey,
    used: &UsedKey,
    message: &[u8],
) -> Result<StoredReply, Error> {
    if !ctx.idempotency_macs.verifies(message, &used.request_mac) {
        return Err(Error::Reused);
    }
    let status = used.status.ok_or(Error::InUse)?;
    let sealed = used.body.as_ref().ok_or(Error::ReplyUnavailable)?;
    let row = row_ids(key);
    let body = IDEMPOTENT_REPLIES
        .open(ctx, key.account_id, &row, sealed)
        .await?;
    Ok(StoredReply { status, body })
}

/// A reserved key, released when dropped unless the reply is stored.
#[derive(Debug)]
pub(super) struct Held(Option<(AppState, Reservation)>);

impl Held {
    pub(super) fn reservation(&self) -> Option<&Reservation> {
        self.0.as_ref().map(|(_, reservation)| reservation)
    }

    /// Releases the key before the reply is sent, so that the client can use it again at once.
    pub(super) async fn release(mut self) {
        if let Some(task) = self.start_release() {
            // A panic in the task was reported.
            task.await.ok();
        }
    }

    fn start_release(&mut self) -> Option<JoinHandle<()>> {
        let (state, reservation) = self.0.take()?;
        if reservation.is_stored() {
            return None;
        }
        let releasing = async move {
            if let Err(error) = delete(&state, &reservation).await {
                tracing::warn!(%error, "an idempotency key stays reserved until its lease ends");
            }
        };
        Some(tokio::spawn(releasing.in_current_span()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.start_release();
    }
}

async fn delete(state: &AppState, reservation: &Reservation) -> Result<(), sqlx::Error> {
    let scope = Scope::Account(reservation.key().account_id);
    let mut tx = scope::begin(&state.db, scope).await?;
    store::delete(&mut *tx, reservation).await?;
    tx.commit().await
}

impl Tx<'_> {
    /// Commits, and with it the 201 reply that the handler returns, for repetitions of the request. The last commit of
    /// every handler that accepts an idempotency key.
    pub async fn commit_created<T: Serialize>(self, created: &T) -> Result<(), sqlx::Error> {
        self.commit_reply(201, created).await
    }

    /// As [`Tx::commit_created`], for a 200 reply.
    pub async fn commit_ok<T: Serialize>(self, reply: &T) -> Result<(), sqlx::Error> {
        self.commit_reply(200, reply).await
    }

    /// `RowNotFound` if another request has taken the key over: nothing is committed.
    async fn commit_reply<T: Serialize>(
        mut self,
        status: i16,
        reply: &T,
    ) -> Result<(), sqlx::Error> {
        let ctx = self.ctx();
        let Some(reservation) = ctx.reservation() else {
            return self.commit().await;
        };
        let key = reservation.key();
        let body = serde_json::to_vec(reply).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let row = row_ids(&key);
        let is_stored = body.len() <= MAX_REPLY;
        let sealed = is_stored.then(|| IDEMPOTENT_REPLIES.seal(ctx, &row, &body));
        let scope = Scope::Account(key.account_id);
        if self.scope() != Some(scope) {
            scope::set(&mut *self, scope).await?;
        }
        if !store::update_reply(&mut *self, reservation, status, sealed.as_ref()).await? {
            return Err(sqlx::Error::RowNotFound);
        }
        self.commit().await?;
        reservation.set_stored();
        Ok(())
    }
}
