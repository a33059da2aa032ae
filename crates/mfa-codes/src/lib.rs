//! Codes of a second factor: TOTP (RFC 6238), enrolment of authenticator apps, and recovery codes.

mod failures;
mod proof;
mod recovery_code;
mod totp;
mod typed;

pub use failures::Failures;
pub use proof::{NotOne, Proof};
pub use qrcode::types::QrError;
pub use recovery_code::RecoveryCode;
pub use totp::{TotpCode, TotpSecret, qr_svg};
