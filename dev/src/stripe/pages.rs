//! Pages of checkout, portal and invoices: plain HTML with forms, no scripts.

mod checkout;
mod html;
mod invoice;
mod portal;

use std::sync::Arc;

use axum::{Router, response::Response, routing::get};

use super::server::Shared;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(show_home))
        .merge(checkout::router())
        .merge(portal::router())
        .merge(invoice::router())
}

async fn show_home() -> Response {
    html::page(
        "API of payments",
        "<p>Development and tests call this server in place of Stripe. The service links to its checkout and portal pages. \
         <code>docs/fake-stripe.md</code> describes its cards and its control routes below <code>/fake/</code>.</p>",
    )
}
