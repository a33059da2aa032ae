//! Who is asking. `auth` finds out; every slice's handlers take it.

use axum::extract::{FromRequestParts, Request};
use axum::http::Extensions;
use axum::http::request::Parts;

use super::code::Code;
use super::context::Exchange;
use super::problem::Problem;
use crate::ids::{ApiKeyId, SessionId, UserId};

/// Whoever acts for an account: its owner, signed in, or a program with one of its API keys. As an
/// argument it refuses everybody else, so that a route which lost its authentication fails closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// What showed that it may act for it.
    pub credential: Credential,
}

/// What a request was authenticated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A sign-in.
    Session(SessionId),
    /// An API key, which is never good for the account's own security.
    ApiKey(ApiKeyId),
}

impl Credential {
    /// The sign-in, where it is one.
    #[must_use]
    pub const fn session_id(self) -> Option<SessionId> {
        match self {
            Self::Session(id) => Some(id),
            Self::ApiKey(_) => None,
        }
    }

    /// The API key, where it is one.
    #[must_use]
    pub const fn api_key_id(self) -> Option<ApiKeyId> {
        match self {
            Self::Session(_) => None,
            Self::ApiKey(id) => Some(id),
        }
    }
}

impl Caller {
    /// Who a request was signed in by; one that was not is refused.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Self::find(request.extensions())
    }

    fn find(extensions: &Extensions) -> Result<Self, Problem> {
        let signed_in = extensions.get().copied();
        signed_in.ok_or_else(|| Code::Unauthenticated.into())
    }

    /// Signs a request in: handlers can take it, and the access log names the account.
    pub fn enter(self, extensions: &mut Extensions) {
        if let Some(exchange) = Exchange::of(extensions) {
            exchange.set_user(self.user_id);
        }
        extensions.insert(self);
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::find(&parts.extensions)
    }
}

/// The account's owner, signed in. As an argument it refuses API keys as well: routes that decide
/// about the account's security take it instead of [`Caller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user_id: UserId,
    /// The sign-in it acts under.
    pub session_id: SessionId,
}

impl From<Principal> for Caller {
    fn from(owner: Principal) -> Self {
        Self {
            user_id: owner.user_id,
            credential: Credential::Session(owner.session_id),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let session_id = caller.credential.session_id();
        Ok(Self {
            user_id: caller.user_id,
            session_id: session_id.ok_or(Code::SessionRequired)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn nobody_is_a_caller_by_default() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let refused = Caller::from_request_parts(&mut parts, &())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);

        let ada = Principal {
            user_id: UserId(Uuid::nil()),
            session_id: SessionId(Uuid::max()),
        };
        Caller::from(ada).enter(&mut parts.extensions);
        let caller = Caller::from_request_parts(&mut parts, &()).await;
        assert_eq!(caller.unwrap(), ada.into());
        let owner = Principal::from_request_parts(&mut parts, &()).await;
        assert_eq!(owner.unwrap(), ada);
    }

    #[tokio::test]
    async fn an_api_key_is_a_caller_and_not_the_owner() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let program = Caller {
            user_id: UserId(Uuid::nil()),
            credential: Credential::ApiKey(ApiKeyId(Uuid::max())),
        };
        program.enter(&mut parts.extensions);
        let caller = Caller::from_request_parts(&mut parts, &()).await;
        assert_eq!(caller.unwrap(), program);
        let refused = Principal::from_request_parts(&mut parts, &()).await;
        assert_eq!(refused.unwrap_err().code(), Code::SessionRequired);
    }
}
