//! Every route and every layer a request meets, on one page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use futures_util::FutureExt as _;
use tower::ServiceBuilder;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::config::{Config, Limit, LimitsConfig};
use crate::health::Draining;
use crate::infra::db::Pulse;
use crate::state::AppState;
use crate::usage::Metering;
use crate::web::{
    Answer, ClientLimits, Code, Deadline, DenyLists, Problem, RequestContext, SecurityHeaders,
    TrustedHosts, body_limit, cors, document_common, document_limits, guard, limit_client,
    limit_guesses, panic_guard, shed, unless_silent,
};
use crate::{admin, api_keys, audit, auth, dashboard, docs, events, health, plans, usage, users};

/// What every versioned route begins with.
const API: &str = "/api/v1";

/// The largest body of a route that takes JSON, in bytes.
const JSON_LIMIT: usize = 16 * 1024;

/// The whole service: what production serves, and what the tests talk to.
pub fn router(state: &AppState, config: &Config, draining: Draining) -> Router {
    let (apart, document) = document(apart(draining)).split_for_parts();
    let (public, public_document) = limit_public(state).split_for_parts();
    let (signed_in, signed_in_document) = signed_in().split_for_parts();
    let (administrative, administrative_document) = administrative().split_for_parts();
    let documents = [public_document, signed_in_document, administrative_document];
    let document = finish(document, documents);
    let administrative =
        administrative.route_layer(from_fn_with_state(state.clone(), auth::require_admin));
    let door = Arc::new(Door {
        metering: Metering::new(state, &document),
        guesses: ClientLimits::new(&state.limiter, &[state.limits.anonymous]),
        state: state.clone(),
    });
    let signed_in = signed_in
        .merge(administrative)
        .route_layer(from_fn_with_state(door, pass_signed_in));
    let mut routes = public
        .merge(signed_in)
        .merge(apart)
        .with_state(state.clone());
    if config.docs_enabled {
        routes = routes.merge(docs::router(document));
    }
    routes
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        // From top to bottom as a request meets them.
        .layer(
            ServiceBuilder::new()
                .layer(RequestContext::new(
                    &config.http,
                    state.clock.clone(),
                    state.rng.clone(),
                ))
                .layer(SecurityHeaders::new(&config.http))
                .layer(DenyLists::new(&config.deny))
                .layer(TrustedHosts::new(&config.http))
                .layer(cors(&config.http))
                .layer(panic_guard())
                .layer(shed(&config.http))
                .layer(guard(config.limits.guard))
                .layer(body_limit(JSON_LIMIT))
                .layer(Deadline::new(&config.http)),
        )
}

/// The routes that do without the database, or tell how it is.
fn apart(draining: Draining) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .nest("/health", health::router(draining))
        .nest("/.well-known", auth::well_known_router())
        .merge(auth::pages_router())
}

/// The routes that anybody may call, in groups by what one client may ask of them.
fn public() -> [(OpenApiRouter<AppState>, Budget); 5] {
    let auth = |group| OpenApiRouter::new().nest(&format!("{API}/auth"), group);
    let anonymous = auth(auth::csrf_router()).nest(API, plans::router());
    let sign_in = auth::router()
        .merge(auth::second_step_router())
        .merge(auth::recovery_router());
    [
        (anonymous, |limits| vec![limits.anonymous]),
        (auth(auth::session_router()), |limits| vec![limits.session]),
        (auth(sign_in), |limits| vec![limits.auth]),
        (auth(auth::register_router()), |limits| {
            vec![limits.auth, limits.register]
        }),
        (auth(auth::forgotten_router()), |limits| {
            vec![limits.auth, limits.reset]
        }),
    ]
}

/// What one client may ask of a group of routes.
type Budget = fn(&LimitsConfig) -> Vec<Limit>;

/// The routes that anybody may call, each group behind its limits.
fn limit_public(state: &AppState) -> OpenApiRouter<AppState> {
    let groups = public().map(|(group, budget)| {
        let limits = ClientLimits::new(&state.limiter, &budget(&state.limits));
        group.route_layer(from_fn_with_state(
            (state.pulse.clone(), limits),
            pass_client,
        ))
    });
    groups
        .into_iter()
        .fold(OpenApiRouter::new(), OpenApiRouter::merge)
}

/// What anybody's requests meet.
async fn pass_client(
    State((pulse, limits)): State<(Pulse, ClientLimits)>,
    request: Request,
    next: Next,
) -> Answer {
    let answer = limit_client(&limits, request, |request| next.run(request).map(Ok));
    unless_silent(&pulse, answer).await
}

/// What [`pass_signed_in`] knows.
struct Door {
    state: AppState,
    guesses: ClientLimits,
    metering: Metering,
}

/// What the requests of whoever is signed in meet, from top to bottom. It is one layer: each of its
/// own would copy and box all that is within, for every request.
async fn pass_signed_in(State(door): State<Arc<Door>>, request: Request, next: Next) -> Answer {
    let Door {
        state,
        guesses,
        metering,
    } = &*door;
    let answer = limit_guesses(guesses, request, |request| {
        api_keys::admit_keys(state, request, |request| {
            auth::require_session(state, request, |request| {
                plans::limit_by_plan(state, request, |request| {
                    auth::require_second_factor(state, request, |request| {
                        usage::meter(metering, request, |request| next.run(request).map(Ok))
                    })
                })
            })
        })
    });
    unless_silent(&state.pulse, answer).await
}

/// The routes of whoever acts for an account: signed in, or where it is allowed with an API key.
fn signed_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .nest(
            &format!("{API}/auth"),
            auth::signed_in_router()
                .merge(auth::sessions_router())
                .merge(auth::mfa_router()),
        )
        .nest(
            &format!("{API}/users"),
            users::router().merge(auth::credentials_router()),
        )
        .nest(&format!("{API}/api-keys"), api_keys::router())
        .nest(API, audit::router())
        .nest(API, dashboard::router())
        .nest(&format!("{API}/usage"), usage::router())
        .nest(&format!("{API}/events"), events::router())
}

/// The routes that need a session of an administrator.
fn administrative() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().nest(&format!("{API}/admin"), admin::router())
}

/// The document of all routes, as `/api/openapi.json` and the `openapi` subcommand have it.
#[must_use]
pub fn openapi() -> OpenApi {
    let (_, document) = document(apart(Draining::default())).split_for_parts();
    let public = public().map(|(group, _)| group).into_iter();
    let public = public.fold(OpenApiRouter::new(), OpenApiRouter::merge);
    let (_, public) = public.split_for_parts();
    let (_, signed_in) = signed_in().split_for_parts();
    let (_, administrative) = administrative().split_for_parts();
    finish(document, [public, signed_in, administrative])
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Groundwork",
        description = "Accounts for a SaaS product. Errors are `application/problem+json` (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Signing up, in and out"),
        (name = "users", description = "One's own account"),
        (name = "api keys", description = "Keys for programs"),
        (name = "admin", description = "Other people's accounts, for administrators"),
        (name = "billing", description = "Plans, and what they cost"),
        (name = "usage", description = "What an account called, and what of its quota is left"),
        (name = "events", description = "What happened in an account's product"),
        (name = "health", description = "For probes and balancers"),
        (name = "pages", description = "Where links in letters lead"),
    ),
)]
struct Frame;

fn document(routes: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Frame::openapi()).merge(routes)
}

/// Adds what is true of every operation.
fn finish(mut document: OpenApi, more: [OpenApi; 3]) -> OpenApi {
    for mut more in more {
        document_limits(&mut more);
        document.merge(more);
    }
    document_common(&mut document);
    auth::document_credentials(&mut document);
    api_keys::document_keys(&mut document);
    document
}
