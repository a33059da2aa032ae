//! Keys as the document of all routes describes them.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use super::scope::{Scope, asked_for};
use crate::web::operations;

/// Adds the scheme, and to each operation that takes a key the scope that it asks for.
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
    let none: [&str; 0] = [];
    let unnamed = SecurityRequirement::new("api_key", none);
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            let ways = operation.security.iter_mut().flatten();
            for way in ways.filter(|way| **way == unnamed) {
                let scope =
                    asked_for(path, &method).map(|(area, access)| Scope::within(area, access));
                *way = SecurityRequirement::new("api_key", scope.map(Scope::as_str));
            }
        }
    }
}
