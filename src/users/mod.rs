//! People and their profiles. Owns the table `users` and the routes `/users/me`.

mod error;
mod model;
mod routes;
mod store;

pub use error::Error;
pub use model::{
    Credentials, EmailAddress, NewUser, OwnCredentials, PersonName, ProfileChanges, Role, SignUp,
    User,
};
pub use routes::router;
pub use store::{
    change_email, create, find_by_email, find_credentials, find_own_credentials, find_unverified,
    mark_verified, reset_password_hash, set_password_hash, sign_up,
};
