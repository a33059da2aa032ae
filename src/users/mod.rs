//! Users and their profiles. Owns the tables `users` and `sign_ups`, and the routes `/users/me`. Their pictures are in
//! `avatars`.

mod avatars;
mod error;
mod model;
mod routes;
mod store;
mod synthetic;

pub use avatars::{
    AVATARS, SweepError as AvatarSweepError, avatar_prefix_of, avatar_routes, find_avatar_key,
    list_known_avatars, public_avatar_routes, sweep as sweep_avatars,
};
pub use error::Error;
pub use model::{
    Account, AccountCounts, AccountFilter, Credentials, CredentialsChange, CredentialsVersion,
    DisabledReason, NewUser, OwnCredentials, PersonName, ProfileChanges, Role, SearchText, SignUp,
    SignUpCredentials, SignUps, User,
};
pub use routes::{identity_routes, routes};
pub use store::{
    advance_credentials, begin_erasure, change_email, claim_address, confirm_sign_up,
    count_accounts, count_sign_ups, delete_erased, delete_unverified, delete_verified_sign_ups,
    exists, find_active_address, find_credentials, find_erased_address, find_own_credentials,
    find_verified_address, get_account, insert, is_address_taken, is_synthetic, list_accounts,
    list_admins, list_sign_ups, lock_account_and_admins, lock_credentials, lock_credentials_shared,
    rehash_password, reset_password_hash, set_disabled, set_erase_at, set_password_hash, set_role,
    sign_up,
};
pub use synthetic::SYNTHETIC_ADDRESS;
