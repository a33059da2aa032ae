//! Argon2id cost parameters, and the PHC string format.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::OUTPUT_LEN;

/// Argon2id cost parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl HashingCost {
    /// Maximum accepted from a stored hash.
    const MOST: Self = Self {
        memory_kib: 1_048_576,
        iterations: 20,
        parallelism: 16,
    };

    /// Memory in KiB times iterations.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.iterations)
    }

    /// Cost of a hash whose work is the difference to `other`, if that costs more. Its memory is as
    /// close to that of `other` as possible, since memory within the CPU cache is filled faster.
    pub(super) fn missing_to(self, other: Self) -> Option<Self> {
        let difference = other.work().checked_sub(self.work())?;
        let iterations = difference.div_ceil(other.memory_kib.into());
        let memory_kib = difference.checked_div(iterations)?;
        let rest = Self {
            memory_kib: u32::try_from(memory_kib).ok()?,
            iterations: u32::try_from(iterations).ok()?,
            parallelism: other.parallelism,
        };
        // Argon2 needs 8 KiB a lane. A smaller difference cannot be measured from outside.
        (rest.memory_kib >= 8 * rest.parallelism).then_some(rest)
    }

    fn is_within(self, most: Self) -> bool {
        self.memory_kib <= most.memory_kib
            && self.iterations <= most.iterations
            && self.parallelism <= most.parallelism
    }
}

/// Stored hash: `$argon2id$v=19$m=…,t=…,p=…$salt$output`.
pub(super) struct Phc {
    pub(super) cost: HashingCost,
    pub(super) salt: Vec<u8>,
    pub(super) output: [u8; OUTPUT_LEN],
}

impl std::fmt::Display for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HashingCost {
            memory_kib,
            iterations,
            parallelism,
        } = self.cost;
        let salt = BASE64_STANDARD_NO_PAD.encode(&self.salt);
        let output = BASE64_STANDARD_NO_PAD.encode(self.output);
        write!(
            f,
            "$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}${salt}${output}"
        )
    }
}

impl Phc {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let mut costs = parts.next()?.split(',');
        let mut cost = |name: &str| -> Option<u32> {
            costs
                .next()?
                .strip_prefix(name)?
                .parse()
                .ok()
                .filter(|cost| *cost > 0)
        };
        let cost = HashingCost {
            memory_kib: cost("m=")?,
            iterations: cost("t=")?,
            parallelism: cost("p=")?,
        };
        let salt = BASE64_STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let output = BASE64_STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let fits = parts.next().is_none()
            && cost.is_within(HashingCost::MOST)
            && cost.memory_kib >= 8 * cost.parallelism
            && (8..=64).contains(&salt.len());
        fits.then_some(Self {
            cost,
            salt,
            output: output.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(memory_kib: u32, iterations: u32, parallelism: u32) -> HashingCost {
        HashingCost {
            memory_kib,
            iterations,
            parallelism,
        }
    }

    #[test]
    fn the_rest_of_a_higher_cost_is_a_hash_with_the_difference_in_work() {
        for (stored, configured) in [
            (cost(19_456, 2, 1), cost(19_456, 3, 1)),
            (cost(19_456, 2, 1), cost(65_536, 3, 1)),
            (cost(19_456, 2, 1), cost(47_104, 1, 1)),
            (cost(65_536, 1, 1), cost(19_456, 4, 4)),
            (cost(8_192, 1, 1), cost(1_048_576, 20, 16)),
            (cost(12_288, 3, 1), cost(19_456, 2, 1)),
        ] {
            let rest = stored.missing_to(configured).expect("it is more");
            let (all, wanted) = (stored.work() + rest.work(), configured.work());
            let error = wanted.abs_diff(all);
            assert!(
                error * 1_000 <= wanted,
                "{stored:?} {configured:?} {rest:?}"
            );
            assert!(rest.is_within(configured), "{rest:?}");
        }
        assert_eq!(cost(64, 1, 1).missing_to(cost(64, 1, 1)), None);
        assert_eq!(cost(64, 2, 1).missing_to(cost(64, 1, 1)), None);
        assert_eq!(cost(64, 1, 1).missing_to(cost(65, 1, 1)), None);
    }
}
