//! Tokens, sessions and password hashing.

use std::time::Duration;

use settings::{DurationOrZero, List, Reader};

use super::rules::{Key, WEAK_KEY, is_random};

settings::settings! {
    /// Tokens and sessions.
    pub struct AuthConfig {
        /// Password hashing.
        password: PasswordConfig,
    }
    "Tokens and sessions", AuthSettings {
        /// List of Ed25519 seeds in base64url; the first signs, all verify;
        /// [key-rotation.md](key-rotation.md) says how they are changed.
        JWT_SIGNING_KEYS => signing_keys: List<Key>, required("`keys generate` makes one"), secret,
            production(is_random, WEAK_KEY);
        /// List of 32 random bytes in base64url: refresh tokens, CSRF tokens and the names of limits by
        /// address are made under the first, and all verify; [key-rotation.md](key-rotation.md) says
        /// how they are changed.
        TOKEN_SECRET => token_secrets: List<Key>, required("`keys generate` makes one"), secret,
            production(is_random, WEAK_KEY);
        /// The `iss` of access tokens.
        JWT_ISSUER => issuer: String, computed("`PUBLIC_URL`", public_url);
        /// The `aud` of access tokens.
        JWT_AUDIENCE => audience: String, computed("`PUBLIC_URL`", public_url);
        /// Lifetime of an access token.
        ACCESS_TOKEN_TTL => access_ttl: Duration = "15m", production_at_most("1d");
        /// Clock difference that is tolerated in `nbf` and `exp` of access tokens; our own replicas
        /// have one clock ([architecture.md](architecture.md#which-clock-is-used)).
        TOKEN_LEEWAY => leeway: DurationOrZero = "30s", production_at_most("5m");
        /// How long a used refresh token still returns its successor.
        REFRESH_GRACE => refresh_grace: DurationOrZero = "10s", production_at_most("5m");
        /// A session that is not refreshed for so long ends.
        SESSION_IDLE_TTL => session_idle_ttl: Duration = "14d";
        /// A session ends at this age in any case.
        SESSION_MAX_TTL => session_max_ttl: Duration = "90d";
        /// Active sessions of an account; a sign-in beyond ends the one that was used longest ago.
        SESSION_MAX_COUNT => session_max_count: u32 = 100, within(1..=100000);
        /// Issue refresh tokens that the release before reads, while its replicas still run:
        /// [deployment.md](deployment.md#from-opaque-refresh-tokens). It goes with the next release.
        LEGACY_REFRESH_TOKENS => legacy_refresh_tokens: bool = false;
        /// How long the link in the welcome email works.
        VERIFY_EMAIL_TTL => verify_email_ttl: Duration = "1d", production_at_most("30d");
        /// How long a link that sets a new password works.
        RESET_PASSWORD_TTL => reset_password_ttl: Duration = "30m", production_at_most("1d");
        /// How long the owner of an old address can undo the change of it, by the link in an email.
        EMAIL_UNDO_TTL => email_undo_ttl: Duration = "7d", at_most("90d");
        /// An account that nobody verifies for so long is deleted, once it has no link left to be
        /// verified by.
        UNVERIFIED_TTL => unverified_ttl: Duration = "7d";
    }
}

settings::settings! {
    /// Argon2id (RFC 9106) and the pool that runs it.
    pub struct PasswordConfig {}
    "Passwords": "Passwords are rehashed at sign-in when the cost rises.", PasswordSettings {
        /// Argon2id: memory of one hash.
        PASSWORD_MEMORY_KIB => memory_kib: u32 = 19456, within(8192..=1048576);
        /// Argon2id: passes over that memory.
        PASSWORD_ITERATIONS => iterations: u32 = 2, within(1..=20);
        /// Argon2id: lanes.
        PASSWORD_PARALLELISM => parallelism: u32 = 1, within(1..=16);
        /// Hashes at once; each needs its memory.
        PASSWORD_THREADS => threads: usize, computed("the number of cores", |_| Some(cores().to_string())), within(1..=256);
        /// How long a hash may wait for a thread before the request gets 503.
        PASSWORD_QUEUE_TIMEOUT => queue_timeout: Duration = "2s", at_most("60s");
    }
}

fn public_url(reader: &Reader<'_>) -> Option<String> {
    let url = url::Url::parse(reader.text("PUBLIC_URL")?).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256))
}

impl PasswordSettings {
    /// Returns whether the cost is below that of OWASP's Password Storage Cheat Sheet.
    pub(super) fn is_cheap(&self) -> bool {
        let Some((memory, iterations)) = self.memory_kib.zip(self.iterations) else {
            return false;
        };
        ![
            (47_104, 1),
            (19_456, 2),
            (12_288, 3),
            (9_216, 4),
            (7_168, 5),
        ]
        .iter()
        .any(|(least, passes)| memory >= *least && iterations >= *passes)
    }
}
