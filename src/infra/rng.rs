//! Randomness, injected so that a test can repeat itself.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng as _, SeedableRng, TryRng};

/// Draws random bytes: the system's, or a seeded stream in a test.
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<StdRng>>>);

impl Rng {
    /// The operating system's generator.
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
    /// When the operating system has no randomness to give: going on would mean guessable tokens.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Some(seeded) => seeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill_bytes(&mut bytes),
            None => SysRng
                .try_fill_bytes(&mut bytes)
                .expect("the operating system gives randomness"),
        }
        bytes
    }
}
