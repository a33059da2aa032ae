//! Second factors: TOTP codes of an authenticator app, and recovery codes. Owns the tables `mfa_factors` and
//! `recovery_codes` and the emails about them. `auth` decides when one is required.

mod error;
mod jobs;
mod model;
mod recovery_code;
mod reseal;
mod service;
mod store;
mod totp;
mod typed;

pub use error::Error;
pub use jobs::{FactorEvent, NotifySecondFactor};
pub use model::{Method, MfaStatus, Proof, RecoveryCodes};
pub use recovery_code::RecoveryCode;
pub use reseal::ResealSecrets;
pub use service::{
    begin, confirm, remove, remove_since, renew_codes, turn_off, verify, verify_pending,
};
pub use store::{find_status, has_second_factor, purge_pending};
pub use totp::{Enrolment, TotpCode};
