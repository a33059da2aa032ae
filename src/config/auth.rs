//! The settings of tokens, sessions and passwords.

use std::time::Duration;

use url::Url;

use super::Key32;
use super::reader::Reader;
use super::setting::{days, secs};

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
    /// `TOKEN_SECRET`: the key that successors of refresh tokens are derived under.
    pub token_secret: Key32,
    /// `REFRESH_GRACE`: how long a used refresh token still answers with its successor.
    pub refresh_grace: Duration,
    /// `SESSION_IDLE_TTL`: a session that is not refreshed for so long ends.
    pub session_idle_ttl: Duration,
    /// `SESSION_MAX_TTL`: a session ends at this age whatever happens.
    pub session_max_ttl: Duration,
    /// `VERIFY_EMAIL_TTL`: how long the link in the welcome letter works.
    pub verify_email_ttl: Duration,
    /// `RESET_PASSWORD_TTL`: how long a link that sets a new password works.
    pub reset_password_ttl: Duration,
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

/// Whether Argon2id costs a guess at least what OWASP's Password Storage Cheat Sheet asks for.
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
        let token_secret = self.required::<Key32>("TOKEN_SECRET");
        let refresh_grace = self.span("REFRESH_GRACE", secs(10));
        let session_idle_ttl = self.duration("SESSION_IDLE_TTL", days(14));
        let session_max_ttl = self.duration("SESSION_MAX_TTL", days(90));
        let verify_email_ttl = self.duration("VERIFY_EMAIL_TTL", days(1));
        let reset_password_ttl = self.duration("RESET_PASSWORD_TTL", secs(30 * 60));
        let unverified_ttl = self.duration("UNVERIFIED_TTL", days(7));
        let password = self.password();
        self.refuse_if(
            token_secret.as_ref().is_some_and(Key32::is_weak),
            "TOKEN_SECRET",
            WEAK,
        );
        let signs = |secret: &Key32| {
            let mut signing = signing_keys.iter().flatten();
            signing.any(|key| key.expose() == secret.expose())
        };
        self.refuse_if(
            token_secret.iter().any(signs),
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
            token_secret: token_secret?,
            refresh_grace: refresh_grace?,
            session_idle_ttl: session_idle_ttl?,
            session_max_ttl: session_max_ttl?,
            verify_email_ttl: verify_email_ttl?,
            reset_password_ttl: reset_password_ttl?,
            unverified_ttl: unverified_ttl?,
            password: password?,
        })
    }

    /// The ring of signing keys.
    pub(super) fn signing_keys(&mut self) -> Option<Vec<Key32>> {
        const NAME: &str = "JWT_SIGNING_KEYS";
        let keys = self.list::<Key32>(NAME)?;
        if keys.is_empty() {
            self.fault(NAME, "is required: `keys generate` makes one");
        }
        self.refuse_if(keys.iter().any(Key32::is_weak), NAME, WEAK);
        Some(keys)
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
