//! Every route and every layer a request meets, on one page.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use tower::ServiceBuilder;
use utoipa::OpenApi as _;
use utoipa::openapi::{OpenApi, Server};
use utoipa_axum::router::OpenApiRouter;

use crate::config::{Config, Limit, LimitsConfig};
use crate::health::Draining;
use crate::infra::db::Pulse;
use crate::state::AppState;
use crate::usage::Metering;
use crate::web::{
    Answer, ClientLimits, Code, Deadline, DenyLists, PanicGuard, Problem, RequestContext, Routes,
    SecurityHeaders, TrustedHosts, Within, cors, document_common, document_limits, door, guard,
    limit_client, limit_guesses, shed, strip_base_path, unless_silent,
};
use crate::{admin, api_keys, audit, auth, dashboard, docs, events, health, plans, usage, users};

/// What every versioned route begins with.
const API: &str = "/api/v1";

/// Where signing in and all about it is.
const AUTH: &str = "/api/v1/auth";

/// The whole service: what production serves, and what the tests talk to.
pub fn router(state: &AppState, config: &Config, draining: Draining) -> Router {
    let (apart, document) = apart(draining).split_for_parts();
    let (public, public_document) = limit_public(state).split_for_parts();
    let (signed_in, signed_in_document) = signed_in().open().split_for_parts();
    let (administrative, administrative_document) = administrative().open().split_for_parts();
    let limited = [public_document, signed_in_document, administrative_document];
    let mut document = finish(document, limited);
    let base = config.http.base_path();
    let own = first_segments(&document);
    if !base.is_empty() {
        document.servers = Some(vec![Server::new(base)]);
    }
    let known = state.clone();
    let administrative = administrative.route_layer(door(move |request, within| {
        pass_administrator(known.clone(), request, within)
    }));
    let entrance = Arc::new(Entrance {
        metering: Metering::new(state, &document),
        guesses: ClientLimits::new(&state.limiter, &[state.limits.anonymous]),
        state: state.clone(),
    });
    let signed_in = signed_in
        .merge(administrative)
        .route_layer(door(move |request, within| {
            pass_signed_in(Arc::clone(&entrance), request, within)
        }));
    let mut routes = public
        .merge(signed_in)
        .merge(apart)
        .with_state(state.clone());
    let cors = cors(&config.http, &document);
    if config.docs_enabled {
        routes = routes.merge(docs::router(document, base));
    }
    let routes = routes
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
                .layer(cors)
                .layer(PanicGuard)
                .layer(shed())
                .layer(guard(config.limits.guard))
                .layer(Deadline::new(&config.http)),
        );
    strip_base_path(routes, base, own)
}

/// First segments of the paths of all routes.
fn first_segments(document: &OpenApi) -> Vec<String> {
    let documented = document.paths.paths.keys().map(String::as_str);
    let all = documented.chain([docs::PAGE, docs::DOCUMENT, auth::ASSETS]);
    all.filter_map(|path| path.split('/').nth(1).map(str::to_owned))
        .collect()
}

/// The routes that do without the database, or tell how it is.
fn apart(draining: Draining) -> OpenApiRouter<AppState> {
    Routes::new()
        .mount("/health", health::router(draining))
        .mount("/.well-known", auth::well_known_router())
        .open()
        .merge(auth::pages_router())
}

/// The routes that anybody may call, in groups by what one client may ask of them.
fn public() -> [(Routes<AppState>, Budget); 5] {
    let auth = |group| Routes::new().mount(AUTH, group);
    let anonymous = auth(auth::csrf_router()).mount(API, plans::router());
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
        let limits = ClientLimits::new(&state.limiter, &budget(&state.limits))
            .exempt(state.limits.auth, &state.limits.exempt);
        let known = Arc::new((state.pulse.clone(), limits));
        group.open().route_layer(door(move |request, within| {
            pass_client(Arc::clone(&known), request, within)
        }))
    });
    groups
        .into_iter()
        .fold(OpenApiRouter::default(), OpenApiRouter::merge)
}

/// What anybody's requests meet.
async fn pass_client(
    known: Arc<(Pulse, ClientLimits)>,
    request: Request,
    within: Within,
) -> Answer {
    let (pulse, limits) = &*known;
    limit_client(limits, request, |request| {
        unless_silent(pulse, within.answer(request))
    })
    .await
}

/// What [`pass_signed_in`] knows.
struct Entrance {
    state: AppState,
    guesses: ClientLimits,
    metering: Metering,
}

/// What the requests of whoever is signed in meet, from top to bottom. It is one layer: each of its
/// own would copy and box all that is within, for every request.
async fn pass_signed_in(entrance: Arc<Entrance>, request: Request, within: Within) -> Answer {
    let Entrance {
        state,
        guesses,
        metering,
    } = &*entrance;
    let answer = limit_guesses(guesses, request, |request| {
        api_keys::admit_keys(state, request, |request| {
            auth::require_session(state, request, |request| {
                plans::limit_by_plan(state, request, |request| {
                    auth::require_second_factor(state, request, |request| {
                        usage::meter(metering, request, |request| within.answer(request))
                    })
                })
            })
        })
    });
    unless_silent(&state.pulse, answer).await
}

/// What the requests of administrators meet, behind [`pass_signed_in`].
async fn pass_administrator(state: AppState, request: Request, within: Within) -> Answer {
    auth::require_admin(&state, request, |request| within.answer(request)).await
}

/// The routes of whoever acts for an account: signed in, or where it is allowed with an API key.
fn signed_in() -> Routes<AppState> {
    Routes::new()
        .mount(
            AUTH,
            auth::signed_in_router()
                .merge(auth::sessions_router())
                .merge(auth::mfa_router()),
        )
        .mount(
            "/api/v1/users",
            users::router().merge(auth::credentials_router()),
        )
        .mount("/api/v1/api-keys", api_keys::router())
        .mount(API, audit::router())
        .mount(API, dashboard::router())
        .mount("/api/v1/usage", usage::router())
        .mount("/api/v1/events", events::router())
}

/// The routes that need a session of an administrator.
fn administrative() -> Routes<AppState> {
    Routes::new().mount("/api/v1/admin", admin::router())
}

/// The document of all routes, as `/api/openapi.json` and the `openapi` subcommand have it.
#[must_use]
pub fn openapi() -> OpenApi {
    let described = |routes: Routes<AppState>| routes.open().into_openapi();
    let public = public().map(|(group, _)| group).into_iter();
    let public = public.fold(Routes::new(), Routes::merge);
    let limited = [public, signed_in(), administrative()].map(described);
    let apart = apart(Draining::default()).into_openapi();
    finish(apart, limited)
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

/// The whole document, with what is true of every operation: of the routes `apart`, and of those
/// that are limited.
fn finish(apart: OpenApi, limited: [OpenApi; 3]) -> OpenApi {
    let mut document = Frame::openapi();
    document.merge(apart);
    for mut more in limited {
        document_limits(&mut more);
        document.merge(more);
    }
    document_common(&mut document);
    auth::document_credentials(&mut document);
    api_keys::document_keys(&mut document);
    document
}
