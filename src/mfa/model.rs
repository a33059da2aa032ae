//! Second factor: status, proofs, and limits of wrong codes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::recovery_code::RecoveryCode;
use super::totp::TotpCode;

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

/// Proof of the second factor.
#[derive(Debug)]
pub enum Proof {
    Totp(TotpCode),
    Recovery(RecoveryCode),
}

impl Proof {
    /// Requires exactly one.
    pub fn one_of(code: Option<TotpCode>, recovery: Option<RecoveryCode>) -> Result<Self, Error> {
        Self::at_most_one_of(code, recovery)?.ok_or(Error::ExactlyOneCode)
    }

    pub fn at_most_one_of(
        code: Option<TotpCode>,
        recovery: Option<RecoveryCode>,
    ) -> Result<Option<Self>, Error> {
        match (code, recovery) {
            (Some(code), None) => Ok(Some(Self::Totp(code))),
            (None, Some(code)) => Ok(Some(Self::Recovery(code))),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Error::ExactlyOneCode),
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

/// Times of an account's wrong codes.
#[derive(Debug)]
pub(super) struct Failures(pub(super) Vec<DateTime<Utc>>);

const WINDOW: TimeDelta = TimeDelta::hours(1);

impl Failures {
    /// Time until the next code is accepted, after `most` wrong ones within the window.
    pub(super) fn wait(&self, most: usize, now: DateTime<Utc>) -> Option<TimeDelta> {
        let recent: Vec<_> = self.recent(now).collect();
        let oldest = recent.len().checked_sub(most)?;
        recent.get(oldest).map(|at| *at + WINDOW - now)
    }

    pub(super) fn and_now(&self, now: DateTime<Utc>) -> Self {
        Self(self.recent(now).chain([now]).collect())
    }

    fn recent(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        // Times in the future, of a clock that was ahead, count as now.
        self.0
            .iter()
            .map(move |at| (*at).min(now))
            .filter(move |at| now - *at < WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    #[test]
    fn only_the_last_hours_failures_count_and_the_oldest_says_how_long() {
        let mut failures = Failures(Vec::new());
        for minute in [0, 10, 20] {
            assert_eq!(failures.wait(3, at(minute)), None);
            failures = failures.and_now(at(minute));
        }
        assert_eq!(failures.wait(3, at(20)), Some(TimeDelta::minutes(40)));
        assert_eq!(failures.wait(3, at(59)), Some(TimeDelta::minutes(1)));
        assert_eq!(failures.wait(3, at(60)), None);
        assert_eq!(failures.and_now(at(60)).0.len(), 3);
        assert_eq!(failures.wait(2, at(60)), Some(TimeDelta::minutes(10)));
    }

    #[test]
    fn a_clock_that_was_ahead_locks_nobody_out_for_longer() {
        let failures = Failures(vec![at(1_000); 3]);
        assert_eq!(failures.wait(3, at(0)), Some(TimeDelta::hours(1)));
    }

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
