//! Proof of a second factor in a request.

use crate::{RecoveryCode, TotpCode};

/// The request has both codes, or neither.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("exactly one code is required")]
pub struct NotOne;

/// Proof of the second factor.
#[derive(Debug)]
pub enum Proof {
    /// Code of an authenticator app.
    Totp(TotpCode),
    /// Recovery code.
    Recovery(RecoveryCode),
}

impl Proof {
    /// Requires exactly one.
    pub fn one_of(code: Option<TotpCode>, recovery: Option<RecoveryCode>) -> Result<Self, NotOne> {
        Self::at_most_one_of(code, recovery)?.ok_or(NotOne)
    }

    /// Rejects both.
    pub fn at_most_one_of(
        code: Option<TotpCode>,
        recovery: Option<RecoveryCode>,
    ) -> Result<Option<Self>, NotOne> {
        match (code, recovery) {
            (Some(code), None) => Ok(Some(Self::Totp(code))),
            (None, Some(code)) => Ok(Some(Self::Recovery(code))),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(NotOne),
        }
    }

    /// Name of the request field.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Totp(_) => "code",
            Self::Recovery(_) => "recovery_code",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_proof_is_wanted_and_not_two() {
        let code = || TotpCode::try_from("123456".to_owned()).ok();
        let recovery = || RecoveryCode::try_from("0".repeat(24)).ok();
        assert_eq!(
            Proof::one_of(code(), None).expect("it is one").field(),
            "code"
        );
        assert_eq!(
            Proof::one_of(None, recovery()).expect("it is one").field(),
            "recovery_code"
        );
        assert!(Proof::one_of(code(), recovery()).is_err());
        assert!(Proof::one_of(None, None).is_err());
        assert!(matches!(Proof::at_most_one_of(None, None), Ok(None)));
        assert!(Proof::at_most_one_of(code(), recovery()).is_err());
    }
}
