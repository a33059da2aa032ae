//! The ways to sign a request, as the document of all routes describes them.

use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use super::cookie::Cookie;
use crate::web::operations;

/// Adds the ways to sign a request, and to each operation that takes an access token that it takes
/// the cookie as well: with the CSRF token where the call may change something.
pub fn document_credentials(api: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "The `access_token` that `/auth/login` and `/auth/refresh` answer with.",
        ));
    let access = "Set by `/auth/login` with the transport `cookie`.";
    let refresh = "Set beside it, and sent to `/auth` alone.";
    let csrf = "The `csrf_token` of the session; needed with cookies where the call is not a GET.";
    let components = api.components.get_or_insert_default();
    for (name, scheme) in [
        ("bearer", SecurityScheme::Http(bearer.build())),
        ("cookie", cookie(Cookie::Access, access)),
        ("refresh_cookie", cookie(Cookie::Refresh, refresh)),
        (
            "csrf",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-CSRF-Token",
                csrf,
            ))),
        ),
    ] {
        components.add_security_scheme(name, scheme);
    }
    for item in api.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            add_cookie(operation, method.is_safe());
        }
    }
}

fn cookie(cookie: Cookie, description: &str) -> SecurityScheme {
    let value = ApiKeyValue::with_description(cookie.name(true), description);
    SecurityScheme::ApiKey(ApiKey::Cookie(value))
}

fn add_cookie(operation: &mut Operation, only_reads: bool) {
    let none: [&str; 0] = [];
    let bearer = SecurityRequirement::new("bearer", none);
    let Some(ways) = &mut operation.security else {
        return;
    };
    let cookie = SecurityRequirement::new("cookie", none);
    let cookie = if only_reads {
        cookie
    } else {
        cookie.add("csrf", none)
    };
    if ways.contains(&bearer) && !ways.contains(&cookie) {
        ways.push(cookie);
    }
}
