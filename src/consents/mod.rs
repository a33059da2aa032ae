//! Documents that users accept, and optional consents such as product news. Owns the table `consents`, which is only
//! appended to, and the routes `/users/me/consents` and `/legal`. A product adds a kind in [`OptionalKind`].

mod error;
mod model;
mod routes;
mod service;
mod store;

pub use error::Error;
pub use model::{AcceptedDocuments, Line, OptionalKind, Source};
pub use routes::{public_routes, routes};
pub use service::{
    accept_at_sign_up, check_documents, has_accepted, record_choice, required_documents,
};
pub use store::{delete_of_sign_ups, is_given, list_lines, list_new_users, list_users};
