//! Second factor: enrolment, status and recovery codes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Secret for an authenticator app, which is returned only once.
#[derive(Serialize, ToSchema)]
pub struct Enrolment {
    /// The secret in base32 (RFC 4648 §6), to type in.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    pub(super) secret: String,
    /// The secret as a URL that apps open.
    #[schema(
        example = "otpauth://totp/Groundwork:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Groundwork&algorithm=SHA1&digits=6&period=30"
    )]
    pub(super) otpauth_url: String,
    /// The URL as a QR code in SVG.
    #[schema(example = "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>")]
    pub(super) qr_svg: String,
}

/// New recovery codes, which are returned only once.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each works once, in place of a code of the authenticator app.
    #[schema(example = json!(["7k2m-p9x4-3qvt-h8wd-5nbz-c6rj"]))]
    pub(super) recovery_codes: Vec<String>,
}

/// Second factor status of an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct MfaStatus {
    /// Whether sign-in requires a second factor.
    pub(super) enabled: bool,
    /// When the second factor was turned on.
    pub(super) enabled_at: Option<DateTime<Utc>>,
    /// Number of unused recovery codes.
    #[schema(example = 10)]
    pub(super) recovery_codes_left: i64,
}

/// A kind of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A code of an authenticator app.
    Totp,
    /// A recovery code.
    RecoveryCode,
}

impl Method {
    pub const ALL: [Self; 2] = [Self::Totp, Self::RecoveryCode];
}
