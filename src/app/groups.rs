//! Groups of routes, each with its policy and the one layer of middleware that the policy asks for.

use std::sync::Arc;

use axum::Extension;
use http_toolkit::{ClientLimits, Routes, middleware_fn};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{Access, Router, public_stack, signed_in_stack};
use crate::ctx::ReplicaAllowed;
use crate::policy::Policy;
use crate::state::AppState;
use crate::usage::Metering;

#[derive(Default)]
pub(super) struct Groups(Vec<(Policy, OpenApiRouter<AppState>)>);

/// What the middleware of a group knows.
pub(super) struct Group {
    pub(super) state: AppState,
    pub(super) policy: Policy,
    pub(super) client_limits: ClientLimits,
    pub(super) metering: Metering,
}

impl Groups {
    /// Adds routes below `prefix`, which begins with a slash and ends with none.
    pub(super) fn group(mut self, prefix: &str, policy: Policy, routes: Routes<AppState>) -> Self {
        let mut mounted = routes.mount(prefix);
        policy.document(mounted.get_openapi_mut());
        self.0.push((policy, mounted));
        self
    }

    pub(super) fn into_document(self) -> OpenApi {
        let all = self.0.into_iter().map(|(_, router)| router);
        all.fold(OpenApiRouter::default(), OpenApiRouter::merge)
            .into_openapi()
    }

    pub(super) fn into_router(self, state: &AppState) -> (Router<AppState>, OpenApi) {
        let all = self.0.into_iter().map(|(policy, router)| {
            let group = Arc::new(Group {
                client_limits: client_limits(state, &policy),
                metering: Metering::new(state, &policy, router.get_openapi()),
                state: state.clone(),
                policy,
            });
            let router = if group.policy.reads_replica && state.replica.is_some() {
                router.route_layer(Extension(ReplicaAllowed))
            } else {
                router
            };
            match group.policy.access {
                Access::Unlimited => router,
                Access::Public => router.route_layer(middleware_fn(move |request, next| {
                    public_stack(Arc::clone(&group), request, next)
                })),
                Access::SignedIn | Access::Admin => {
                    router.route_layer(middleware_fn(move |request, next| {
                        signed_in_stack(Arc::clone(&group), request, next)
                    }))
                }
            }
        });
        all.fold(OpenApiRouter::default(), OpenApiRouter::merge)
            .split_for_parts()
    }
}

/// Signed-in groups count credentials that were rejected, by the limit of anonymous clients.
fn client_limits(state: &AppState, policy: &Policy) -> ClientLimits {
    let limits = match policy.access {
        Access::SignedIn | Access::Admin => vec![state.limits.anonymous],
        Access::Unlimited | Access::Public => {
            let limits = policy.client_limits.iter();
            limits.map(|select| select(&state.limits)).collect()
        }
    };
    ClientLimits::new(&state.limiter, &limits).exempt(state.limits.auth, &state.limits.exempt)
}
