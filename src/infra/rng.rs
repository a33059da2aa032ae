//! Randomness, injected so that a test can repeat itself.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Draws random bytes that nobody can guess, or a seeded stream in a test.
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<StdRng>>>);

impl Rng {
    /// A generator for each thread (`ChaCha12`) that the operating system seeds, again and again.
    /// Asking the system itself would cost each request several calls of the kernel.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A stream that is the same for the same seed; never for production.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to seed it: going on would mean guessable tokens.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Some(seeded) => seeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill_bytes(&mut bytes),
            #[expect(clippy::disallowed_methods, reason = "the one place that draws")]
            None => rand::rng().fill_bytes(&mut bytes),
        }
        bytes
    }
}
