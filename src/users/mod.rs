//! Users and their profiles. Owns the tables `users` and `sign_ups`, and the routes `/users/me`.

mod account;
mod credentials;
mod error;
mod model;
mod routes;
mod store;

pub use account::{Account, AccountCounts, AccountFilter, DisabledReason, SearchText, SignUps};
pub use credentials::{CredentialsChange, CredentialsVersion};
pub use error::Error;
pub use model::{
    Credentials, EmailAddress, NewUser, OwnCredentials, PersonName, ProfileChanges, Role, SignUp,
    SignUpCredentials, User,
};
pub use routes::{identity_routes, routes};
pub use store::{
    advance_credentials, change_email, claim_address, confirm_sign_up, count_accounts,
    count_sign_ups, find_by_email, find_credentials, find_credentials_version, find_enabled,
    find_own_credentials, find_unverified, get_account, insert, is_address_taken, list_accounts,
    list_admins, list_sign_ups, lock_account, lock_account_and_admins, lock_credentials,
    lock_credentials_shared, purge_sign_ups, purge_unverified, rehash_password,
    reset_password_hash, set_disabled, set_password_hash, set_role, sign_up,
};
