//! Storing events: all that are told together, or none.

use super::error::Error;
use super::model::{NewEvent, StoredEvent};
use super::store::{self, Columns};
use crate::ids::UserId;
use crate::infra::begin;
use crate::state::AppState;

/// Events that are told together.
#[derive(Debug, Default)]
pub(super) struct Told {
    columns: Columns,
    may_repeat: bool,
}

impl Told {
    /// Adds an event; `None` when the caller's id is rejected.
    pub(super) fn add(&mut self, state: &AppState, event: NewEvent) -> Option<StoredEvent> {
        self.may_repeat |= event.id.is_some();
        let stored = StoredEvent::identify(event.id, state.clock.now(), &state.rng)?;
        self.columns.push(stored, event);
        Some(stored)
    }

    /// Stores the events of an account, except those that are stored already and the same.
    pub(super) async fn store(&self, state: &AppState, user_id: UserId) -> Result<(), Error> {
        if !self.may_repeat {
            store::insert(&state.db, user_id, &self.columns).await?;
            return Ok(());
        }
        let (columns, count) = (&self.columns, self.columns.len());
        let mut tx = begin(&state.db).await?;
        let inserted = store::insert(&mut *tx, user_id, columns).await?;
        if inserted < count && store::count_same(&mut *tx, user_id, columns).await? < count {
            return Err(Error::IdTaken);
        }
        tx.commit().await?;
        Ok(())
    }
}
