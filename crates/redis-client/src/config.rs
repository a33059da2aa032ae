//! Settings of the connection.

use std::time::Duration;

use settings::RedisUrl;
use settings::host::{COMMON_PASSWORD, has_common_password, is_private_or};

settings::settings! {
    /// Redis.
    pub struct RedisConfig {}
    "Redis", RedisSettings {
        /// Redis, which may be lost at any time: `rediss://:password@host:6379`.
        REDIS_URL => url: Option<RedisUrl>, secret,
            production(
                |url| is_private_or(url, &["rediss"]),
                "must be `rediss://` outside of a private network"
            ),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// What one command may add to a request. After three that take longer, Redis is not asked
        /// until it responds again.
        REDIS_TIMEOUT => timeout: Duration = "50ms", at_most("1s");
    }
}
