//! The raw rate of Argon2id: what the hash alone allows, on all cores, with memory that is reused.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

/// The service's default: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;

/// Hashes a second, over `length`.
pub(crate) fn rate(length: Duration) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (count, began) = (AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let params = Params::new(MEMORY_KIB, ITERATIONS, 1, None);
                let params = params.expect("the parameters are the service's own");
                let mut memory = vec![Block::default(); params.block_count()];
                let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let mut hash = [0; 32];
                while began.elapsed() < length {
                    argon
                        .hash_password_into_with_memory(
                            b"a password",
                            b"sixteen byte salt",
                            &mut hash,
                            &mut memory,
                        )
                        .expect("the salt and the hash are of good lengths");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    f64::from(count.into_inner()) / began.elapsed().as_secs_f64()
}
