//! The ways to sign a request, as the document of all routes describes them.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::cookie::Cookie;

/// Adds the security schemes of sessions.
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
}

fn cookie(cookie: Cookie, description: &str) -> SecurityScheme {
    let value = ApiKeyValue::with_description(cookie.name(true), description);
    SecurityScheme::ApiKey(ApiKey::Cookie(value))
}
