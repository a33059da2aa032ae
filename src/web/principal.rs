//! Who is asking. `auth` makes it; every slice's handlers take it.

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use super::context::Exchange;
use super::problem::{Code, Problem};
use crate::ids::{SessionId, UserId};

/// The signed-in caller. As an argument it refuses everybody else, so that a route which lost its
/// authentication fails closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user_id: UserId,
    /// The sign-in it acts under.
    pub session_id: SessionId,
}

impl Principal {
    /// Signs a request in: handlers can take it, and the access log names the account.
    pub fn enter(self, extensions: &mut Extensions) {
        if let Some(exchange) = Exchange::of(extensions) {
            exchange.set_user(self.user_id);
        }
        extensions.insert(self);
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get()
            .copied()
            .ok_or_else(|| Code::Unauthenticated.into())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn nobody_is_a_principal_by_default() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let refused = Principal::from_request_parts(&mut parts, &())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);

        let ada = Principal {
            user_id: UserId(Uuid::nil()),
            session_id: SessionId(Uuid::max()),
        };
        ada.enter(&mut parts.extensions);
        assert_eq!(
            Principal::from_request_parts(&mut parts, &())
                .await
                .unwrap(),
            ada
        );
    }
}
