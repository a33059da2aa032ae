//! People and their profiles. Owns the table `users` and the routes `/users/me`.

mod error;
mod model;
mod routes;
mod store;

pub use error::Error;
pub use model::{
    Credentials, EmailAddress, NewUser, PersonName, ProfileChanges, Role, SignUp, User,
};
pub use routes::router;
pub use store::{
    create, find_credentials, find_unverified, mark_verified, set_password_hash, sign_up,
};
