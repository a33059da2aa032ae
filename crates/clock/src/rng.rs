//! Injected randomness.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Cryptographic random bytes, or a seeded stream in a test; clones share the stream.
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<StdRng>>>);

impl Rng {
    /// A `ChaCha12` generator per thread, reseeded from the operating system. Reading from the
    /// operating system each time would cost each request several system calls.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A reproducible stream; never for production.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness: going on would mean guessable tokens.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Some(seeded) => seeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill_bytes(&mut bytes),
            #[expect(clippy::disallowed_methods, reason = "the only source of randomness")]
            None => rand::rng().fill_bytes(&mut bytes),
        }
        bytes
    }
}
