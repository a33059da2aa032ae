//! The settings of tokens, sessions and passwords.

use std::time::Duration;

use url::Url;

use super::Key32;
use super::reader::Reader;
use super::setting::{Flag, days, secs};

/// Tokens, sessions and passwords.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// `JWT_SIGNING_KEYS`: Ed25519 seeds; the first signs, all verify.
    pub signing_keys: Vec<Key32>,
    /// `JWT_ISSUER`: the `iss` of our tokens.
    pub issuer: String,
    /// `JWT_AUDIENCE`: the `aud` of our tokens.
    pub audience: String,
    /// `ACCESS_TOKEN_TTL`: how long an access token is good for.
    pub access_ttl: Duration,
    /// `TOKEN_LEEWAY`: the clock difference between replicas that is forgiven.
    pub leeway: Duration,
    /// `TOKEN_SECRET`: what refresh tokens, CSRF tokens and hidden limit keys are made under; the first
    /// makes them, all verify.
    pub token_secrets: Vec<Key32>,
    /// `LEGACY_REFRESH_TOKENS`: issue refresh tokens that the release before reads as well.
    pub legacy_refresh_tokens: bool,
    /// `REFRESH_GRACE`: how long a used refresh token still answers with its successor.
    pub refresh_grace: Duration,
    /// `SESSION_IDLE_TTL`: a session that is not refreshed for so long ends.
    pub session_idle_ttl: Duration,
    /// `SESSION_MAX_TTL`: a session ends at this age whatever happens.
    pub session_max_ttl: Duration,
    /// `SESSION_MAX_COUNT`: living sessions of an account; one more ends the one used longest ago.
    pub session_max_count: u32,
    /// `VERIFY_EMAIL_TTL`: how long the link in the welcome letter works.
    pub verify_email_ttl: Duration,
    /// `RESET_PASSWORD_TTL`: how long a link that sets a new password works.
    pub reset_password_ttl: Duration,
    /// `EMAIL_UNDO_TTL`: how long the owner of an old address can undo the change of it.
    pub email_undo_ttl: Duration,
    /// `UNVERIFIED_TTL`: an account that nobody confirms for so long is deleted.
    pub unverified_ttl: Duration,
    /// Password hashing.
    pub password: PasswordConfig,
}

/// Argon2id (RFC 9106) and the pool that runs it.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// `PASSWORD_MEMORY_KIB`: memory of one hash, in KiB.
    pub memory_kib: u32,
    /// `PASSWORD_ITERATIONS`: passes over that memory.
    pub iterations: u32,
    /// `PASSWORD_PARALLELISM`: lanes.
    pub parallelism: u32,
    /// `PASSWORD_THREADS`: hashes at once; as many as cores by default.
    pub threads: usize,
    /// `PASSWORD_QUEUE_TIMEOUT`: how long a hash may wait for its turn before it is refused.
    pub queue_timeout: Duration,
}

/// Returns whether Argon2id costs a guess at least what OWASP's Password Storage Cheat Sheet asks for.
fn is_strong(memory_kib: u32, iterations: u32) -> bool {
    [
        (47_104, 1),
        (19_456, 2),
        (12_288, 3),
        (9_216, 4),
        (7_168, 5),
    ]
    .iter()
    .any(|(memory, passes)| memory_kib >= *memory && iterations >= *passes)
}

/// What a key that looks typed is told by.
const WEAK: &str = "is weak: `keys generate` makes a good one";

impl Reader<'_> {
    pub(super) fn auth(&mut self, public_url: Option<&Url>) -> Option<AuthConfig> {
        let signing_keys = self.signing_keys();
        let own_url = public_url.map(|url| url.as_str().trim_end_matches('/').to_owned());
        let issuer = self.or("JWT_ISSUER", own_url.clone().unwrap_or_default());
        let audience = self.or("JWT_AUDIENCE", own_url.unwrap_or_default());
        let access_ttl = self.access_ttl();
        let leeway = self.leeway();
        let token_secrets = self.token_secrets();
        let legacy_refresh_tokens = self.or("LEGACY_REFRESH_TOKENS", Flag(false));
        let refresh_grace = self.span("REFRESH_GRACE", secs(10));
        let session_idle_ttl = self.duration("SESSION_IDLE_TTL", days(14));
        let session_max_ttl = self.duration("SESSION_MAX_TTL", days(90));
        let session_max_count = self.within("SESSION_MAX_COUNT", 100, 1..=100_000);
        let verify_email_ttl = self.duration("VERIFY_EMAIL_TTL", days(1));
        let reset_password_ttl = self.duration("RESET_PASSWORD_TTL", secs(30 * 60));
        let email_undo_ttl = self.duration("EMAIL_UNDO_TTL", days(7));
        if email_undo_ttl.is_some_and(|ttl| ttl > days(90)) {
            self.fault("EMAIL_UNDO_TTL", "must be at most 90d");
        }
        let unverified_ttl = self.duration("UNVERIFIED_TTL", days(7));
        let password = self.password();
        let signs = |secret: &Key32| {
            let mut signing = signing_keys.iter().flatten();
            signing.any(|key| key.expose() == secret.expose())
        };
        self.refuse_if(
            token_secrets.iter().flatten().any(signs),
            "TOKEN_SECRET",
            "must not be one of JWT_SIGNING_KEYS",
        );
        self.refuse_above("ACCESS_TOKEN_TTL", access_ttl, days(1));
        self.refuse_above("TOKEN_LEEWAY", leeway, secs(300));
        self.refuse_above("REFRESH_GRACE", refresh_grace, secs(300));
        self.refuse_above("RESET_PASSWORD_TTL", reset_password_ttl, days(1));
        self.refuse_above("VERIFY_EMAIL_TTL", verify_email_ttl, days(30));
        Some(AuthConfig {
            signing_keys: signing_keys?,
            issuer: issuer?,
            audience: audience?,
            access_ttl: access_ttl?,
            leeway: leeway?,
            token_secrets: token_secrets?,
            legacy_refresh_tokens: legacy_refresh_tokens?.0,
            refresh_grace: refresh_grace?,
            session_idle_ttl: session_idle_ttl?,
            session_max_ttl: session_max_ttl?,
            session_max_count: session_max_count?,
            verify_email_ttl: verify_email_ttl?,
            reset_password_ttl: reset_password_ttl?,
            email_undo_ttl: email_undo_ttl?,
            unverified_ttl: unverified_ttl?,
            password: password?,
        })
    }

    /// The ring of signing keys.
    pub(super) fn signing_keys(&mut self) -> Option<Vec<Key32>> {
        self.ring("JWT_SIGNING_KEYS")
    }

    /// The ring of keys that tokens and hidden limit keys are made under.
    pub(super) fn token_secrets(&mut self) -> Option<Vec<Key32>> {
        self.ring("TOKEN_SECRET")
    }

    fn ring(&mut self, name: &'static str) -> Option<Vec<Key32>> {
        let keys = self.list::<Key32>(name)?;
        if keys.is_empty() {
            self.fault(name, "is required: `keys generate` makes one");
        }
        self.refuse_if(keys.iter().any(Key32::is_weak), name, WEAK);
        (!keys.is_empty()).then_some(keys)
    }

    pub(super) fn access_ttl(&mut self) -> Option<Duration> {
        self.duration("ACCESS_TOKEN_TTL", secs(15 * 60))
    }

    pub(super) fn leeway(&mut self) -> Option<Duration> {
        self.span("TOKEN_LEEWAY", secs(30))
    }

    fn password(&mut self) -> Option<PasswordConfig> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory_kib = self.within("PASSWORD_MEMORY_KIB", 19_456, 8_192..=1_048_576);
        let iterations = self.within("PASSWORD_ITERATIONS", 2, 1..=20);
        let parallelism = self.within("PASSWORD_PARALLELISM", 1, 1..=16);
        let threads = self.within("PASSWORD_THREADS", cores, 1..=256);
        let queue_timeout = self.duration_up_to("PASSWORD_QUEUE_TIMEOUT", secs(2), secs(60));
        let is_cheap = memory_kib
            .zip(iterations)
            .is_some_and(|(memory, iterations)| !is_strong(memory, iterations));
        self.refuse_if(
            is_cheap,
            "PASSWORD_MEMORY_KIB",
            "must be 19456 with 2 PASSWORD_ITERATIONS in production, or as much: 47104 with 1, \
             12288 with 3, 9216 with 4, 8192 with 5",
        );
        Some(PasswordConfig {
            memory_kib: memory_kib?,
            iterations: iterations?,
            parallelism: parallelism?,
            threads: threads?,
            queue_timeout: queue_timeout?,
        })
    }
}
