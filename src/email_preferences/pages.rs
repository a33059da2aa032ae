//! Pages about emails. That of a link works without a script; that of all preferences is for users who sign in on it, and a
//! product with a front end of its own has another one (`LINK_URL`).

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http_toolkit::Routes;
use utoipa_axum::routes;

use crate::auth::{PAGE_HEAD, PAGE_POLICY};
use crate::consents::OptionalKind;
use crate::state::AppState;

/// Security policy of the pages of a link: a form and no script.
const FORM_POLICY: (HeaderName, &str) = (
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

pub fn page_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_email_preferences))
}

/// Script of the page of preferences.
pub fn page_assets() -> Router<AppState> {
    Router::new().route("/assets/email-preferences.js", get(script))
}

/// Show the page of email preferences.
///
/// All emails link to it. Users sign in on it, and choose the optional emails that they get.
#[utoipa::path(get, path = "/email-preferences", tag = "pages",
    responses((status = 200, description = "A page with the preferences.", content_type = "text/html", body = String)))]
async fn show_email_preferences() -> impl IntoResponse {
    let page = [PAGE_HEAD, include_str!("pages/email_preferences.html")].concat();
    ([PAGE_POLICY], Html(page))
}

async fn script() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("pages/email_preferences.js"),
    )
}

/// Page with the button.
pub(super) fn unsubscribe(kind: OptionalKind) -> Response {
    page(include_str!("pages/unsubscribe.html"), kind)
}

/// Page after the button was pressed.
pub(super) fn unsubscribed(kind: OptionalKind) -> Response {
    page(include_str!("pages/unsubscribed.html"), kind)
}

/// A page one level below the others. Names of kinds are constants without characters to escape.
fn page(body: &str, kind: OptionalKind) -> Response {
    let head = PAGE_HEAD.replace("\"assets/", "\"../assets/");
    let body = body.replace("{kind}", &kind.as_str().replace('_', " "));
    ([FORM_POLICY], Html(head + &body)).into_response()
}
