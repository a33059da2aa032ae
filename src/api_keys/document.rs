//! Keys as the document of all routes describes them.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// Adds the security scheme of API keys.
pub fn document_keys(api: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("gw_live_<id>_<secret>")
        .description(Some(
            "A key of `/api-keys`, presented as an access token is. Each operation that takes one names the scope \
             that is for it; `read` or `write` without an area will do as well. The others answer \
             `session_required`.",
        ));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("api_key", SecurityScheme::Http(scheme.build()));
}
