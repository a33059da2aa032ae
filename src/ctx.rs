//! Request context: caller, client, and the parts of [`AppState`]. First argument of handlers and services.

mod caller;
mod replica;
mod reservation;

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, Utc};
use http_toolkit::{Problem, RequestContext, RequestId};
use sqlx::{PgConnection, Postgres, Transaction};

pub use self::caller::{Caller, Credential, Principal};
pub(crate) use self::replica::read_replica;
pub use self::replica::{Begun, LaggingReads, ReplicaAllowed};
pub use self::reservation::{Reservation, ReservedKey};
use crate::ids::{AccountId, SessionId, UserId};
use crate::roles::Permissions;
use crate::scope::{self, Scope};
use crate::state::AppState;
use crate::web::Code;

/// Context of a request that anybody may make, of a job, or of a CLI command. The fields of
/// [`AppState`] are its fields.
#[derive(Clone, Debug)]
pub struct Ctx {
    state: AppState,
    caller: Option<Caller>,
    origin: Origin,
    reservation: Option<Reservation>,
    /// True if the route tolerates lag, and there is a replica.
    allows_replica: bool,
}

/// Where a request came from, as the audit log records it. All empty for jobs and CLI commands.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub request_id: Option<RequestId>,
    pub ip: Option<IpAddr>,
    /// As the client sent it.
    pub user_agent: Option<HeaderValue>,
}

impl Ctx {
    /// Context of a job or a CLI command: no caller, no client.
    #[must_use]
    pub fn system(state: &AppState) -> Self {
        Self {
            state: state.clone(),
            caller: None,
            origin: Origin::default(),
            reservation: None,
            allows_replica: false,
        }
    }

    /// Context of a CLI command about one client.
    #[must_use]
    pub fn about_client(state: &AppState, ip: IpAddr) -> Self {
        let origin = Origin {
            ip: Some(ip),
            ..Origin::default()
        };
        Self {
            origin,
            ..Self::system(state)
        }
    }

    /// Context of a request that middleware has at hand.
    #[must_use]
    pub fn of(state: &AppState, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let context = RequestContext::of(extensions);
        Self {
            state: state.clone(),
            caller: Caller::find(extensions),
            origin: Origin {
                request_id: context.map(|context| context.request_id().clone()),
                ip: context.map(RequestContext::client_addr),
                user_agent: headers.get(USER_AGENT).cloned(),
            },
            reservation: Reservation::find(extensions),
            allows_replica: state.replica.is_some() && ReplicaAllowed::is_in(extensions),
        }
    }

    #[must_use]
    pub const fn caller(&self) -> Option<Caller> {
        self.caller
    }

    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The idempotency key that the request has reserved.
    #[must_use]
    pub const fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Begins a transaction, whose audit entries name this context's caller and origin. Of tables with an account it
    /// sees the rows of the account acted for, and none if nobody is signed in.
    pub async fn begin(&self) -> Result<Tx<'_>, sqlx::Error> {
        match self.caller {
            Some(caller) => self.begin_scoped(Scope::Account(caller.account_id())).await,
            None => Ok(Tx {
                inner: database::begin(&self.db).await?,
                ctx: self,
                scope: None,
            }),
        }
    }

    /// As [`Ctx::begin`], with another scope.
    pub async fn begin_scoped(&self, scope: Scope) -> Result<Tx<'_>, sqlx::Error> {
        Ok(Tx {
            inner: scope::begin(&self.db, scope).await?,
            ctx: self,
            scope: Some(scope),
        })
    }
}

impl Deref for Ctx {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.state
    }
}

impl FromRequestParts<AppState> for Ctx {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Self::of(state, &parts.headers, &parts.extensions))
    }
}

/// Context of an authenticated request: a user or one of their API keys. Rejects all others, so that a
/// route that lost its authentication fails closed.
#[derive(Clone, Debug)]
pub struct CallerCtx {
    ctx: Ctx,
    caller: Caller,
}

impl CallerCtx {
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.caller.user_id
    }

    /// The account acted for.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.caller.account_id()
    }

    /// The caller's permissions in the account acted for.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.caller.permissions()
    }

    #[must_use]
    pub const fn credential(&self) -> Credential {
        self.caller.credential
    }
}

impl Deref for CallerCtx {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl FromRequestParts<AppState> for CallerCtx {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let ctx = Ctx::of(state, &parts.headers, &parts.extensions);
        let caller = ctx.caller.ok_or(Code::Unauthenticated)?;
        Ok(Self { ctx, caller })
    }
}

/// Context of a user who is signed in. Rejects API keys: routes about the security of an account take it.
#[derive(Clone, Debug)]
pub struct UserCtx {
    ctx: Ctx,
    user: Principal,
    caller: Caller,
}

impl UserCtx {
    #[must_use]
    pub const fn user(&self) -> Principal {
        self.user
    }

    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.user.user_id
    }

    /// The account acted for.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.caller.account_id()
    }

    /// The user's permissions in the account acted for.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.caller.permissions()
    }

    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.user.session_id
    }
}

impl Deref for UserCtx {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl FromRequestParts<AppState> for UserCtx {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let CallerCtx { ctx, caller } = CallerCtx::from_request_parts(parts, state).await?;
        let session_id = caller.credential.session_id();
        let user = Principal {
            user_id: caller.user_id,
            session_id: session_id.ok_or(Code::SessionRequired)?,
        };
        Ok(Self { ctx, user, caller })
    }
}

/// A transaction of a context. Dropped without [`Tx::commit`] it is rolled back.
#[derive(Debug)]
pub struct Tx<'a> {
    inner: Transaction<'static, Postgres>,
    ctx: &'a Ctx,
    scope: Option<Scope>,
}

impl<'a> Tx<'a> {
    #[must_use]
    pub const fn ctx(&self) -> &'a Ctx {
        self.ctx
    }

    /// The scope that the transaction began with.
    #[must_use]
    pub const fn scope(&self) -> Option<Scope> {
        self.scope
    }

    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await
    }

    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }
}

impl Deref for Tx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
