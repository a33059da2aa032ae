//! Tokens and sessions.

use std::time::Duration;

use crypto::{HasherOptions, Key32, WEAK_KEY};
use settings::{DurationOrZero, List, Reader};

settings::settings! {
    /// Tokens and sessions.
    pub struct AuthConfig {
        /// Password hashing.
        password: HasherOptions,
    }
    "Tokens and sessions", AuthSettings {
        /// List of Ed25519 seeds in base64url; the first signs, all verify;
        /// [key-rotation.md](key-rotation.md) says how they are changed.
        JWT_SIGNING_KEYS => signing_keys: List<Key32>, required("`keys generate` makes one"), secret,
            production(Key32::is_random, WEAK_KEY);
        /// List of 32 random bytes in base64url: refresh tokens, CSRF tokens and the names of limits by
        /// address are made under the first, and all verify; [key-rotation.md](key-rotation.md) says
        /// how they are changed.
        TOKEN_SECRET => token_secrets: List<Key32>, required("`keys generate` makes one"), secret,
            production(Key32::is_random, WEAK_KEY);
        /// The `iss` of access tokens.
        JWT_ISSUER => issuer: String, computed("`PUBLIC_URL`", public_url);
        /// The `aud` of access tokens.
        JWT_AUDIENCE => audience: String, computed("`PUBLIC_URL`", public_url);
        /// Lifetime of an access token.
        ACCESS_TOKEN_TTL => access_ttl: Duration = "15m", production_at_most("1d");
        /// Clock difference that is tolerated in `nbf` and `exp` of access tokens; our own replicas
        /// have one clock ([architecture.md](architecture.md#which-clock-is-used)).
        TOKEN_LEEWAY => leeway: DurationOrZero = "30s", production_at_most("5m");
        /// How long a used refresh token still returns its successor. The time of an outage of the database does not count.
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
        /// How long sessions that have ended or expired are kept, to investigate incidents. They have addresses of clients.
        SESSION_RETENTION => session_retention: Duration = "30d", within("1d"..="365d");
        /// How long links of emails and unfinished sign-ins are kept after they have expired.
        LINK_RETENTION => link_retention: Duration = "30d", within("1d"..="365d");
    }
}

fn public_url(reader: &Reader<'_>) -> Option<String> {
    let url = url::Url::parse(reader.text("PUBLIC_URL")?).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}
