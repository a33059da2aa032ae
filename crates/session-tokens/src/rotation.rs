//! What the use of a refresh token means, by its generation and the times of the latest rotations.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::after;

/// Generations whose time of rotation is kept. Each was rotated away within the grace of the next; a client that is
/// further behind is no client of ours.
pub const ROTATIONS_KEPT: usize = 16;

/// What the use of a token means that is not the first use of the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// A client that lost the response, or a concurrent one.
    InGrace,
    /// Two parties have the token.
    Reused,
    /// Expired unused, or too many rotations behind.
    Refused,
    /// Newer than the session's state: the database lost rotations.
    Ahead,
}

/// Classifies the use of a token of generation `used` while `current` is the session's. `rotations` are the times
/// when the generations before `current` were rotated away, the newest first; `grace` is how long after such a time the use is
/// one of a client that lost the reply.
#[must_use]
pub fn classify(
    used: i32,
    current: i32,
    rotations: &[DateTime<Utc>],
    now: DateTime<Utc>,
    grace: impl Fn(DateTime<Utc>) -> Duration,
) -> TokenUse {
    let is_recent = |at: &DateTime<Utc>| now <= after(*at, grace(*at));
    match usize::try_from(i64::from(current) - i64::from(used)) {
        Err(_) => TokenUse::Ahead,
        Ok(0) => TokenUse::Refused,
        Ok(behind) => match rotations.get(behind - 1) {
            Some(at) if is_recent(at) => TokenUse::InGrace,
            None if rotations.len() >= ROTATIONS_KEPT
                && rotations.last().is_some_and(is_recent) =>
            {
                TokenUse::Refused
            }
            _ => TokenUse::Reused,
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    /// Classifies a token of generation `used`, `later` seconds after the newest rotation.
    fn use_of(used: i32, current: i32, ages: &[i64], later: i64) -> TokenUse {
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
        let rotations = ages.iter().map(|age| start - TimeDelta::seconds(*age));
        let rotations: Vec<_> = rotations.collect();
        let now = start + TimeDelta::seconds(later);
        classify(used, current, &rotations, now, |_| GRACE)
    }

    #[test]
    fn each_generation_has_a_grace_of_its_own() {
        let ages = [0, 4, 8];
        assert_eq!(use_of(2, 3, &ages, 0), TokenUse::InGrace);
        assert_eq!(use_of(0, 3, &ages, 2), TokenUse::InGrace);
        assert_eq!(use_of(0, 3, &ages, 3), TokenUse::Reused);
        assert_eq!(use_of(1, 3, &ages, 6), TokenUse::InGrace);
        assert_eq!(use_of(2, 3, &ages, 11), TokenUse::Reused);
    }

    #[test]
    fn a_token_that_is_not_behind_the_row_was_not_used() {
        assert_eq!(use_of(3, 3, &[0], 0), TokenUse::Refused);
        assert_eq!(use_of(4, 3, &[0], 0), TokenUse::Ahead);
        assert_eq!(use_of(i32::MAX, 0, &[], 0), TokenUse::Ahead);
    }

    #[test]
    fn an_unrecorded_generation_is_reuse_unless_it_may_be_within_the_grace() {
        assert_eq!(use_of(0, 9, &[0, 4], 0), TokenUse::Reused);
        let full: Vec<i64> = (0..16).map(|age| age / 2).collect();
        assert_eq!(use_of(0, 20, &full, 0), TokenUse::Refused);
        assert_eq!(use_of(0, 20, &full, 4), TokenUse::Reused);
        assert_eq!(use_of(i32::MIN, i32::MAX, &full, 4), TokenUse::Reused);
    }
}
