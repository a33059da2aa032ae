//! OpenAPI document and Swagger UI.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use axum::middleware::{self, Next};
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Path of the page.
pub const DOCS_PAGE: &str = "/docs";

/// Path of the document.
pub const DOCS_DOCUMENT: &str = "/api/openapi.json";

/// CSP for Swagger UI: its own scripts and styles, icons as `data:`, calls to this service, and inline styles on
/// attributes only (CSP level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src-elem 'self'; \
     style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Routes of the page and the document. `base` is the path of the public URL.
pub fn docs(document: OpenApi, base: &str) -> Router {
    let config = Config::from(format!("{base}{DOCS_DOCUMENT}"))
        .try_it_out_enabled(true)
        .persist_authorization(true)
        .display_request_duration(true)
        .display_operation_id(true)
        // Without the bar for other documents, whose logo has inline styles.
        .use_base_layout();
    let page = SwaggerUi::new(DOCS_PAGE)
        .config(config)
        .url(DOCS_DOCUMENT, document);
    // The library redirects to a path without the base.
    let to = HeaderValue::try_from(format!("{base}{DOCS_PAGE}/")).ok();
    let redirect = middleware::map_response(move |mut response: Response| {
        if let (Some(to), Some(location)) = (&to, response.headers_mut().get_mut(LOCATION)) {
            location.clone_from(to);
        }
        std::future::ready(response)
    });
    Router::from(page)
        .layer(middleware::from_fn(allow_page))
        .layer(redirect)
}

async fn allow_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
