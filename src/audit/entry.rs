//! Audit log entries as written.

use serde_json::{Map, Value};

use super::model::Event;
use crate::ctx::Caller;
use crate::ids::{AccountId, SessionId, UserId};

/// Fields that are not set come from the context: actor and user are the caller, the account is the organisation that
/// the caller acts for, or else the personal account of the user.
#[must_use = "an entry is written by `audit`"]
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) event: Event,
    pub(super) account_id: Option<AccountId>,
    pub(super) user_id: Option<UserId>,
    pub(super) actor_id: Option<UserId>,
    pub(super) session_id: Option<SessionId>,
    pub(super) detail: Value,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self {
            event,
            account_id: None,
            user_id: None,
            actor_id: None,
            session_id: None,
            detail: Value::Object(Map::new()),
        }
    }
}

impl Event {
    /// User whom the event is about.
    pub fn about(self, user_id: impl Into<Option<UserId>>) -> Entry {
        Entry::from(self).about(user_id)
    }

    /// Account that the event belongs to, without a caller who acts for it.
    pub fn in_account(self, account_id: AccountId) -> Entry {
        Entry {
            account_id: Some(account_id),
            ..Entry::from(self)
        }
    }

    /// User and actor: a user who is not signed in but has proved their identity.
    pub fn by(self, user_id: UserId) -> Entry {
        Entry {
            actor_id: Some(user_id),
            ..Entry::from(self)
        }
    }

    pub fn session(self, session_id: impl Into<Option<SessionId>>) -> Entry {
        Entry::from(self).session(session_id)
    }

    /// Never a secret.
    pub fn detail(self, detail: Value) -> Entry {
        Entry::from(self).detail(detail)
    }
}

impl Entry {
    pub fn about(mut self, user_id: impl Into<Option<UserId>>) -> Self {
        self.user_id = user_id.into();
        self
    }

    pub fn session(mut self, session_id: impl Into<Option<SessionId>>) -> Self {
        self.session_id = session_id.into();
        self
    }

    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    pub(super) fn with_caller(mut self, caller: Option<Caller>) -> Self {
        let caller_id = caller.map(|caller| caller.user_id);
        self.actor_id = self.actor_id.or(caller_id);
        self.user_id = self.user_id.or(self.actor_id);
        let acted_for = caller
            .filter(|caller| caller.account_id() != caller.user_id.personal_account())
            .map(|caller| caller.account_id());
        let personal = self.user_id.map(UserId::personal_account);
        self.account_id = self.account_id.or(acted_for).or(personal);
        let session_id = caller.and_then(|caller| caller.credential.session_id());
        self.session_id = self.session_id.or(session_id);
        self
    }
}
