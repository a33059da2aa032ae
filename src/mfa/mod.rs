//! Second factors: TOTP codes of an authenticator app, and recovery codes. Owns the tables `mfa_factors` and
//! `recovery_codes` and the emails about them. `auth` decides when one is required.

mod error;
mod jobs;
mod model;
mod service;
mod store;

pub use error::Error;
pub use jobs::{FactorEvent, NotifySecondFactor};
pub use mfa_codes::{NotOne, Proof, RecoveryCode, TotpCode};
pub use model::{Enrolment, Method, MfaStatus, RecoveryCodes};
pub use service::{begin, confirm, remove_since, renew_codes, turn_off, verify, verify_pending};
pub use store::{delete_pending, find_status, has_second_factor};
