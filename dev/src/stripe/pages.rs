//! Pages of the dashboard, checkout, portal and invoices: plain HTML with forms, no scripts.

mod checkout;
mod home;
mod html;
mod invoice;
mod portal;

use std::sync::Arc;

use axum::Router;

use super::server::Shared;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .merge(home::router())
        .merge(checkout::router())
        .merge(portal::router())
        .merge(invoice::router())
}
