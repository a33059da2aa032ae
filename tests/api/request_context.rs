//! Contexts as arguments of handlers: who may call a route that lost its authentication middleware.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use groundwork::ctx::{Caller, CallerCtx, Ctx, UserCtx};
use groundwork::ids::{ApiKeyId, SessionId, UserId};
use groundwork::roles::Permissions;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::harness::TestApp;

async fn statuses(app: &TestApp, caller: Option<Caller>) -> [u16; 3] {
    let routes = Router::new()
        .route("/any", get(async |_: Ctx| StatusCode::OK))
        .route("/caller", get(async |_: CallerCtx| StatusCode::OK))
        .route("/user", get(async |_: UserCtx| StatusCode::OK))
        .layer(from_fn(move |mut request: Request, next: Next| {
            if let Some(caller) = caller {
                caller.enter(request.extensions_mut());
            }
            next.run(request)
        }))
        .with_state(app.state.clone());
    let mut statuses = [0; 3];
    for (status, path) in statuses.iter_mut().zip(["/any", "/caller", "/user"]) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = routes.clone().oneshot(request).await.expect("a response");
        *status = response.status().as_u16();
    }
    statuses
}

#[tokio::test]
async fn a_context_rejects_callers_that_its_type_does_not_allow() {
    let app = TestApp::new().await;
    let owner = UserId(Uuid::nil());
    let account = owner.personal_account();
    let key = ApiKeyId(Uuid::max());
    let key = Some(Caller::with_api_key(owner, key, account, Permissions::NONE));
    let user = Some(Caller::new(owner, SessionId(Uuid::max())));
    assert_eq!(statuses(&app, None).await, [200, 401, 401]);
    assert_eq!(statuses(&app, key).await, [200, 200, 403]);
    assert_eq!(statuses(&app, user).await, [200, 200, 200]);
}
