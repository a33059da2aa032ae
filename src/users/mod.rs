//! People and their profiles. Owns the table `users` and the routes `/users/me`.

mod account;
mod error;
mod model;
mod routes;
mod store;

pub use account::{Account, AccountCounts, AccountFilter, DisabledReason, SearchText, SignUps};
pub use error::Error;
pub use model::{
    Credentials, EmailAddress, NewUser, OwnCredentials, PersonName, ProfileChanges, Role, SignUp,
    User,
};
pub use routes::router;
pub use store::{
    change_email, count_accounts, count_sign_ups, create, find_by_email, find_credentials,
    find_enabled, find_own_credentials, find_unverified, get_account, list_accounts, lock,
    lock_account, lock_account_and_admins, mark_verified, reset_password_hash, set_disabled,
    set_password_hash, set_role, sign_up,
};
