//! Caller of a request, set by the authentication middleware.

use axum::extract::Request;
use axum::http::Extensions;
use http_toolkit::{Problem, RequestContext};

use crate::ids::{AccountId, ApiKeyId, SessionId, UserId};
use crate::roles::{AccountRole, Permissions};
use crate::web::Code;

/// A signed-in user, or a program with an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    pub credential: Credential,
    /// Private, so that only the functions below decide it.
    account_id: AccountId,
    permissions: Permissions,
    must_accept: bool,
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
    /// A signed-in user who acts for their personal account.
    #[must_use]
    pub const fn new(user_id: UserId, session_id: SessionId) -> Self {
        Self {
            user_id,
            credential: Credential::Session(session_id),
            account_id: user_id.personal_account(),
            permissions: Permissions::ALL,
            must_accept: false,
        }
    }

    /// An API key that a user has created for an account, with the permissions of its scopes.
    #[must_use]
    pub const fn with_api_key(
        user_id: UserId,
        id: ApiKeyId,
        account_id: AccountId,
        permissions: Permissions,
    ) -> Self {
        Self {
            user_id,
            credential: Credential::ApiKey(id),
            account_id,
            permissions,
            must_accept: false,
        }
    }

    /// The same user, in a session that began with documents to accept.
    #[must_use]
    pub const fn bound_to_accept(self, must_accept: bool) -> Self {
        Self {
            must_accept,
            ..self
        }
    }

    /// True if the user had documents to accept when the session began.
    #[must_use]
    pub const fn must_accept(&self) -> bool {
        self.must_accept
    }

    /// The same user as a member of an organisation.
    #[must_use]
    pub const fn acting_for(self, account_id: AccountId, role: AccountRole) -> Self {
        Self {
            account_id,
            permissions: role.permissions(),
            ..self
        }
    }

    /// Permissions in the account acted for.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
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
        Self::new(user.user_id, user.session_id)
    }
}
