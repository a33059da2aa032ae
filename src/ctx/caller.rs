//! Caller of a request, set by the authentication middleware.

use axum::extract::Request;
use axum::http::Extensions;
use http_toolkit::{Problem, RequestContext};

use crate::ids::{AccountId, ApiKeyId, SessionId, UserId};
use crate::web::Code;

/// A signed-in user, or a program with an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    pub credential: Credential,
    /// Private, so that only [`Caller::new`] decides it.
    account_id: AccountId,
}

/// What a request was authenticated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Session(SessionId),
    /// Rejected by operations on the security of the account.
    ApiKey(ApiKeyId),
}

impl Credential {
    #[must_use]
    pub const fn session_id(self) -> Option<SessionId> {
        match self {
            Self::Session(id) => Some(id),
            Self::ApiKey(_) => None,
        }
    }

    #[must_use]
    pub const fn api_key_id(self) -> Option<ApiKeyId> {
        match self {
            Self::Session(_) => None,
            Self::ApiKey(id) => Some(id),
        }
    }
}

impl Caller {
    /// A caller who acts for the user's personal account.
    #[must_use]
    pub const fn new(user_id: UserId, credential: Credential) -> Self {
        Self {
            user_id,
            credential,
            account_id: user_id.personal_account(),
        }
    }

    /// The account acted for, which owns the rows that the request reads and writes.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.account_id
    }

    /// The caller of an authenticated request; rejects all others.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Self::find(request.extensions()).ok_or_else(|| Code::Unauthenticated.into())
    }

    pub(super) fn find(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// Marks a request as authenticated: handlers can take the caller, and the access log names the user.
    pub fn enter(self, extensions: &mut Extensions) {
        if let Some(context) = RequestContext::of(extensions) {
            context.set_user(self.user_id.0);
        }
        extensions.insert(self);
    }
}

/// A user with the session that they are signed in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    pub user_id: UserId,
    pub session_id: SessionId,
}

impl From<Principal> for Caller {
    fn from(user: Principal) -> Self {
        Self::new(user.user_id, Credential::Session(user.session_id))
    }
}
