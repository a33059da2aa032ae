//! Idempotency keys.

use std::time::Duration;

settings::settings! {
    /// Idempotency keys.
    pub struct IdempotencyConfig {}
    "Idempotency keys", IdempotencySettings {
        /// How long the reply to a request with an `Idempotency-Key` is stored and returned to
        /// repetitions of it.
        IDEMPOTENCY_TTL => ttl: Duration = "24h", within("1h"..="7d");
    }
}
