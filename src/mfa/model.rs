//! What a second factor is asked and answers.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::recovery_code::RecoveryCode;
use super::totp::TotpCode;

/// New recovery codes. They are shown this once.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each works once, instead of a code of the app.
    #[schema(example = json!(["7k2m-p9x4-3qvt-h8wd-5nbz-c6rj"]))]
    pub(super) recovery_codes: Vec<String>,
}

/// Whether an account has a second factor.
#[derive(Debug, Serialize, ToSchema)]
pub struct MfaStatus {
    /// Whether sign-ins are asked for it.
    pub(super) enabled: bool,
    /// Since when.
    pub(super) enabled_at: Option<DateTime<Utc>>,
    /// How many recovery codes were not used yet.
    #[schema(example = 10)]
    pub(super) recovery_codes_left: i64,
}

/// What is to show that somebody has the second factor.
#[derive(Debug)]
pub enum Proof {
    /// What the app shows.
    Totp(TotpCode),
    /// What was written down.
    Recovery(RecoveryCode),
}

impl Proof {
    /// The one of two fields that is given.
    pub fn one_of(code: Option<TotpCode>, recovery: Option<RecoveryCode>) -> Result<Self, Error> {
        Self::at_most_one_of(code, recovery)?.ok_or(Error::ExactlyOneCode)
    }

    /// The one of two fields that is given, if any is.
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

    /// The field that it came in.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Totp(_) => "code",
            Self::Recovery(_) => "recovery_code",
        }
    }
}

/// How the second factor was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By a code that an authenticator app shows.
    Totp,
    /// By one of the codes that were shown when the factor was turned on.
    RecoveryCode,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Totp, Self::RecoveryCode];
}

/// The wrong codes of an account, as far back as they count.
#[derive(Debug)]
pub(super) struct Failures(pub(super) Vec<DateTime<Utc>>);

/// How far back a wrong code counts.
const WINDOW: TimeDelta = TimeDelta::hours(1);

impl Failures {
    /// How long no code is tried, if `most` were wrong within the hour before.
    pub(super) fn wait(&self, most: usize, now: DateTime<Utc>) -> Option<TimeDelta> {
        let recent: Vec<_> = self.recent(now).collect();
        let oldest = recent.len().checked_sub(most)?;
        recent.get(oldest).map(|at| *at + WINDOW - now)
    }

    /// These and one more now. What counts no more is forgotten.
    pub(super) fn and_now(&self, now: DateTime<Utc>) -> Self {
        Self(self.recent(now).chain([now]).collect())
    }

    fn recent(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        // A clock that was ahead left times to come: those count as now, not for longer.
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
