//! Every route with what it requires, and every middleware in the order that a request meets it. The routes of
//! organisations are in `organisation_groups.rs`.

mod document;
mod groups;
mod organisation_groups;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use http_toolkit::{
    CatchPanic, DOCS_DOCUMENT, DOCS_PAGE, Deadline, DenyLists, Draining, MiddlewareResult, Next,
    Problem, RequestContextLayer, SecurityHeaders, TrustedHosts, cors, docs, fail_fast, guard,
    limit_client, limit_rejected_credentials, middleware_stack, shed, strip_base_path,
};
use tower::ServiceBuilder;
use utoipa::openapi::{OpenApi, Server};

use self::document::complete;
use self::groups::{Group, Groups};
use crate::config::Config;
use crate::policy::{self, Access, Area, KeyUse, public, signed_in, unlimited};
use crate::roles::Permission;
use crate::state::AppState;
use crate::web::Code;
use crate::{
    admin, api_keys, audit, auth, billing, consents, dashboard, email_preferences, events, files,
    health, idempotency, organisations, payments, plans, privacy, secrets, start_page, usage,
    users,
};

const API: &str = "/api/v1";
const AUTH: &str = "/api/v1/auth";
const SECRETS: &str = "/api/v1/secrets";
const FILES: &str = "/api/v1/files";
const USERS: &str = "/api/v1/users";

fn groups(draining: Draining) -> Groups {
    let groups = Groups::default()
        .group("/health", unlimited(), health::routes(draining))
        .group("/.well-known", unlimited(), auth::well_known_routes())
        .group(AUTH, public().limit(|of| of.anonymous), auth::csrf_routes())
        .group(API, public().limit(|of| of.anonymous), plans::routes())
        .group(AUTH, public().limit(|of| of.session), auth::token_routes())
        .group(
            AUTH,
            public().limit(|of| of.auth),
            auth::sign_in_routes()
                .merge(auth::verification_routes())
                .merge(auth::recovery_routes())
                .merge(privacy::cancellation_routes()),
        )
        .group(
            AUTH,
            public().limit(|of| of.auth).limit(|of| of.register),
            auth::registration_routes(),
        )
        .group(
            AUTH,
            public().limit(|of| of.auth).limit(|of| of.reset),
            auth::forgotten_password_routes(),
        )
        .group(
            AUTH,
            signed_in().exempt_from_quota().exempt_from_acceptance(),
            auth::session_routes().merge(auth::mfa_routes()),
        )
        .group(
            AUTH,
            signed_in()
                .exempt_from_quota()
                .exempt_from_acceptance()
                .exempt_from_second_factor(),
            auth::enrolment_routes().merge(auth::logout_all_routes()),
        )
        .group(
            USERS,
            signed_in().exempt_from_quota().exempt_from_acceptance(),
            auth::credential_routes()
                .merge(privacy::deletion_routes())
                .merge(privacy::export_routes()),
        )
        .group(
            USERS,
            signed_in()
                .exempt_from_quota()
                .exempt_from_acceptance()
                .exempt_from_second_factor(),
            consents::routes(),
        )
        .group(
            API,
            public().limit(|of| of.anonymous),
            consents::public_routes(),
        )
        .group(
            USERS,
            signed_in().scope(Area::Users).exempt_from_quota(),
            users::routes(),
        )
        .group(
            USERS,
            signed_in()
                .scope(Area::Users)
                .exempt_from_quota()
                .exempt_from_acceptance()
                .exempt_from_second_factor(),
            users::identity_routes(),
        )
        .group(
            "/api/v1/api-keys",
            signed_in()
                .permission(Permission::ApiKeysRead, Permission::ApiKeysWrite)
                .idempotency_keys(KeyUse::Optional)
                .exempt_from_quota(),
            api_keys::routes(),
        )
        .group(
            API,
            signed_in().exempt_from_quota().reads_replica(),
            audit::routes(),
        );
    entrusted_groups(page_groups(product_groups(report_groups(groups))))
}

/// Groups of what was counted and recorded, and of administrators.
fn report_groups(groups: Groups) -> Groups {
    groups
        .group(
            API,
            signed_in().scope(Area::Dashboard).exempt_from_quota(),
            dashboard::routes(),
        )
        .group(
            "/api/v1/usage",
            signed_in().scope(Area::Usage).exempt_from_quota(),
            usage::routes(),
        )
        .group(
            "/api/v1/usage",
            signed_in()
                .scope(Area::Usage)
                .exempt_from_quota()
                .reads_replica(),
            usage::report_routes(),
        )
        .group("/api/v1/admin", policy::admin(), admin::routes())
        .group(
            "/api/v1/admin",
            policy::admin().reads_replica(),
            admin::overview_routes(),
        )
}

/// Pages for people who follow a link.
fn page_groups(groups: Groups) -> Groups {
    groups
        .group("", unlimited(), auth::page_routes())
        .group("", unlimited(), email_preferences::page_routes())
        // Without a limit by client: mail providers unsubscribe many users from few addresses.
        .group("", public(), email_preferences::routes())
        .group(
            "",
            public().limit(|of| of.anonymous),
            billing::page_routes(),
        )
}

/// Groups of what accounts pay for.
fn product_groups(groups: Groups) -> Groups {
    groups
        .group(
            "/api/v1/billing",
            signed_in().scope(Area::Billing).exempt_from_quota(),
            billing::routes().merge(billing::invoice_routes()),
        )
        .group("/api/v1/webhooks", unlimited(), billing::webhook_routes())
        .group(
            "/api/v1/events",
            signed_in().scope(Area::Events),
            events::routes(),
        )
        .group(
            "/api/v1/payments",
            signed_in()
                .scope(Area::Payments)
                .idempotency_keys(KeyUse::Required)
                .exempt_from_quota(),
            payments::routes(),
        )
}

/// Groups of what accounts and users entrust to the product.
fn entrusted_groups(groups: Groups) -> Groups {
    groups
        .group(
            USERS,
            signed_in().scope(Area::Users).exempt_from_quota(),
            users::avatar_routes(),
        )
        .group(
            API,
            public().limit(|of| of.anonymous),
            users::public_avatar_routes(),
        )
        .group(
            SECRETS,
            signed_in().scope(Area::Secrets).exempt_from_quota(),
            secrets::routes(),
        )
        .group(
            SECRETS,
            signed_in()
                .permission(Permission::SecretsWrite, Permission::SecretsWrite)
                .exempt_from_quota(),
            secrets::reveal_routes(),
        )
        .group(FILES, signed_in().scope(Area::Files), files::routes())
        // Without idempotency keys, even if the others accept them: bodies are buffered to compare requests.
        .group(
            FILES,
            signed_in().scope(Area::Files),
            files::upload_routes(),
        )
}

/// Middleware of public groups, from top to bottom.
async fn public_stack(group: Arc<Group>, request: Request, next: Next) -> MiddlewareResult {
    let rest = |request| next.run(request);
    middleware_stack!(request, rest, [
        limit_client, &group.client_limits;
        fail_fast, &group.state.heartbeat;
    ])
    .await
}

/// Middleware of signed-in groups, from top to bottom, up to the session and the account.
async fn signed_in_stack(group: Arc<Group>, request: Request, next: Next) -> MiddlewareResult {
    let (state, policy) = (&group.state, &group.policy);
    let rest = |request| authenticated_stack(&group, request, next);
    middleware_stack!(request, rest, [
        fail_fast, &state.heartbeat;
        limit_rejected_credentials, &group.client_limits;
        api_keys::authenticate, state, policy;
        auth::require_session, state;
        organisations::resolve_account, state, policy;
    ])
    .await
}

/// The second half of the signed-in middleware. Boxed, since the time to compile a stack grows exponentially with its
/// length.
fn authenticated_stack(
    group: &Group,
    request: Request,
    next: Next,
) -> Pin<Box<dyn Future<Output = MiddlewareResult> + Send + '_>> {
    let (state, policy) = (&group.state, &group.policy);
    let rest = |request| next.run(request);
    Box::pin(middleware_stack!(request, rest, [
        plans::limit_by_plan, state;
        auth::reject_synthetic_changes, state;
        auth::require_acceptance, state, policy;
        auth::require_second_factor, state, policy;
        usage::meter, &group.metering;
        organisations::require_permission, policy;
        auth::require_admin, state, policy;
        idempotency::replay_reply, state, policy;
    ]))
}

/// The whole service: what production serves, and what the tests talk to.
pub fn router(state: &AppState, config: &Config, draining: Draining) -> Router {
    let mut groups = groups(draining);
    if config.organisations.enabled {
        groups = organisation_groups::add(groups);
    }
    let (routes, document) = groups.into_router(state);
    let mut document = complete(document);
    let base = config.http.base_path();
    let mut own = first_segments(&document);
    if !base.is_empty() {
        document.servers = Some(vec![Server::new(base)]);
    }
    let cors = cors(&config.http, &document);
    let mut assets = auth::page_assets().merge(email_preferences::page_assets());
    if config.organisations.enabled {
        assets = assets.merge(organisations::page_assets());
    }
    if config.docs_enabled {
        assets = assets.merge(start_page::routes(config.start_page_file.as_deref()));
        own.extend(start_page::FIRST_SEGMENTS.map(str::to_owned));
    }
    let mut routes = routes.merge(assets).with_state(state.clone());
    if config.docs_enabled {
        routes = routes.merge(docs(document, base));
    }
    let routes = routes
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        // From top to bottom as a request meets them.
        .layer(
            ServiceBuilder::new()
                .layer(RequestContextLayer::new(
                    &config.http,
                    state.clock.clone(),
                    state.rng.clone(),
                ))
                .layer(SecurityHeaders::new(&config.http))
                .layer(DenyLists::new(&config.deny))
                .layer(TrustedHosts::new(&config.http))
                .layer(cors)
                .layer(CatchPanic)
                .layer(shed())
                .layer(guard(
                    config.limits.guard.max(),
                    config.limits.guard.window(),
                ))
                .layer(Deadline::new(&config.http)),
        );
    strip_base_path(routes, base, own)
}

/// First segments of the paths of all routes.
fn first_segments(document: &OpenApi) -> Vec<String> {
    let documented = document.paths.paths.keys().map(String::as_str);
    let all = documented.chain([DOCS_PAGE, DOCS_DOCUMENT, auth::ASSETS]);
    all.filter_map(|path| path.split('/').nth(1).map(str::to_owned))
        .collect()
}

/// The document of all routes, as `/api/openapi.json` and the `openapi` subcommand have it.
#[must_use]
pub fn openapi() -> OpenApi {
    complete(organisation_groups::add(groups(Draining::default())).into_document())
}
