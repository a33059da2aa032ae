//! The OpenAPI document and the page to try it on: development only. In production these routes
//! are not mounted, so that there is nothing to find.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use axum::middleware::{self, Next};
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the page is.
pub const PAGE: &str = "/docs";

/// Where the document is.
pub const DOCUMENT: &str = "/api/openapi.json";

/// What Swagger UI needs and no more: its own scripts and styles, icons that its styles carry as
/// `data:`, calls to this service. Its components set inline styles, which CSP level 3 lets us
/// allow for attributes alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src-elem 'self'; \
     style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The page and the document. Browsers reach them below `base`, the path of the public URL.
pub fn router(document: OpenApi, base: &str) -> Router {
    let config = Config::from(format!("{base}{DOCUMENT}"))
        .try_it_out_enabled(true)
        .persist_authorization(true)
        .display_request_duration(true)
        .display_operation_id(true)
        // Without the bar for other documents, whose logo brings a style sheet of its own.
        .use_base_layout();
    let page = SwaggerUi::new(PAGE).config(config).url(DOCUMENT, document);
    // The library redirects by a path, which lacks the base.
    let to = HeaderValue::try_from(format!("{base}{PAGE}/")).ok();
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
