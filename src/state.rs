//! What a handler may ask for. A handler's signature names the parts it uses, and so tells its
//! reach.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRef;

use crate::api_keys::LastSeen;
use crate::auth::{AttemptSlots, RevocationList};
use crate::config::{
    ApiKeyConfig, AttemptsConfig, AuditConfig, AuthConfig, Config, DatabaseConfig, LimitsConfig,
    MailConfig, MfaConfig, PasswordConfig, PlansConfig, UsageConfig,
};
use crate::ids;
use crate::infra::db::{self, Heartbeat};
use crate::infra::{
    BadKey, Breaches, Cache, Cipher, Clock, ConcurrencyLimit, Db, Hasher, HasherOptions,
    HashingCost, JwtKeys, Limiter, MacRing, Mailer, NoKey, Redis, Rng,
};
use crate::migrate;
use crate::usage::Meter;
use crate::web::OwnOrigins;

/// API keys whose last use or refusal is kept in the process, about 50 bytes each.
const KEYS_NOTED: usize = 20_000;

/// Reports of one account at once.
const REPORTS_PER_ACCOUNT: usize = 2;

/// Requests of one account that store events at once; one row of the database orders them anyway.
const EVENT_WRITES_PER_ACCOUNT: usize = 2;

/// Everything that handlers and jobs share. A clone is another handle on it and costs next to
/// nothing, since every layer that a request meets takes one.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Parts>);

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What there is to share.
#[derive(Debug)]
pub struct Parts {
    /// PostgreSQL, as the runtime role.
    pub db: Db,
    /// Heartbeat of PostgreSQL.
    pub heartbeat: Heartbeat,
    /// Redis, where there is one.
    pub redis: Option<Redis>,
    /// What was read before, kept for a while.
    pub cache: Cache,
    /// How often who did what.
    pub limiter: Limiter,
    /// Who may ask how often.
    pub limits: Arc<LimitsConfig>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    pub attempt_slots: AttemptSlots,
    /// The password hashing pool.
    pub hasher: Hasher,
    /// Passwords known from breaches, where they can be asked for.
    pub breaches: Option<Breaches>,
    /// The mail server.
    pub mailer: Mailer,
    /// The signing keys of access tokens.
    pub keys: Arc<JwtKeys>,
    /// Makes and verifies the tags of refresh tokens.
    pub refresh_macs: MacRing,
    /// Derives the successors of refresh tokens of the release before.
    pub successor_macs: MacRing,
    /// Makes and verifies CSRF tokens.
    pub csrf_macs: MacRing,
    /// Derives the salts of passwords that somebody signs up with.
    pub sign_up_macs: MacRing,
    pub revocation_list: RevocationList,
    /// The pages that may act for somebody who signed in with cookies.
    pub own_origins: OwnOrigins,
    /// What each account called, until it is written.
    pub meter: Meter,
    /// Seals values at rest.
    pub cipher: Arc<Cipher>,
    /// Settings of tokens, sessions and passwords.
    pub auth: Arc<AuthConfig>,
    /// How many wrong passwords anybody gets.
    pub attempts: Arc<AttemptsConfig>,
    /// Settings of second factors.
    pub mfa: Arc<MfaConfig>,
    /// Plans and prices.
    pub plans: Arc<PlansConfig>,
    /// Reports that run at once.
    pub reports: ConcurrencyLimit,
    /// Requests that store events at once.
    pub event_writes: ConcurrencyLimit,
    /// How long audit entries and their addresses are kept.
    pub audit: Arc<AuditConfig>,
    /// Settings of metering and events.
    pub usage: Arc<UsageConfig>,
    /// Settings of API keys.
    pub api_keys: Arc<ApiKeyConfig>,
    /// When API keys were last used, until it is written.
    pub key_uses: LastSeen,
    /// When API keys were last refused for want of a scope.
    pub key_refusals: LastSeen,
    /// Settings of letters.
    pub mail: Arc<MailConfig>,
    /// `WORKER_STATEMENT_TIMEOUT`: for one statement of a job that works in batches.
    pub job_statement_timeout: Duration,
    /// The release, as `/health` names it.
    pub version: Arc<str>,
    /// When the process started.
    pub started: Instant,
}

/// Lets handlers ask for a part alone.
macro_rules! parts {
    ($($field:ident: $part:ty),+ $(,)?) => {$(
        impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    )+};
}

parts! {
    db: Db,
    cache: Cache,
    limiter: Limiter,
    clock: Clock,
    rng: Rng,
    plans: Arc<PlansConfig>,
}

/// Why the state could not be built from a configuration that was well-formed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// `DATABASE_URL` cannot be used.
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    /// `REDIS_URL` cannot be used.
    #[error("REDIS_URL cannot be used: {0}")]
    Redis(String),
    /// `BREACH_CHECK_URL` cannot be used.
    #[error("BREACH_CHECK_URL cannot be used")]
    Breaches,
    /// `SMTP_URL` cannot be used.
    #[error("SMTP_URL cannot be used")]
    Mail,
    /// `JWT_SIGNING_KEYS` cannot be used.
    #[error("JWT_SIGNING_KEYS cannot be used: {0}")]
    Keys(#[from] BadKey),
    /// `ENCRYPTION_KEYS` cannot be used.
    #[error("ENCRYPTION_KEYS cannot be used: {0}")]
    Encryption(#[from] NoKey),
}

impl AppState {
    /// Builds the state. Nothing is connected to yet, so that it also works while the world around
    /// is down. Runs inside a Tokio runtime.
    pub fn new(config: &Config, clock: Clock, rng: Rng) -> Result<Self, StateError> {
        let redis = config
            .redis_url
            .as_ref()
            .map(|url| Redis::connect_lazy(url, config.redis_timeout))
            .transpose()
            .map_err(|error| StateError::Redis(error.to_string()))?;
        let breaches = config.breaches.as_ref().map(Breaches::new).transpose();
        let auth = &config.auth;
        let options = database_options(&config.database);
        let (db, heartbeat) = db::connect_lazy(&options, clock.clone())?;
        Ok(Self(Arc::new(Parts {
            db,
            heartbeat,
            cache: Cache::new(redis.clone(), clock.clone(), rng.clone()),
            limiter: Limiter::new(redis.clone(), clock.clone(), &auth.token_secrets),
            refresh_macs: MacRing::derived(&auth.token_secrets, "refresh token key"),
            successor_macs: MacRing::new(&auth.token_secrets),
            csrf_macs: MacRing::derived(&auth.token_secrets, "csrf token key"),
            sign_up_macs: MacRing::derived(&auth.token_secrets, "sign-up salt key"),
            redis,
            attempt_slots: AttemptSlots::default(),
            hasher: Hasher::start(hasher_options(&auth.password), rng.clone()),
            breaches: breaches.map_err(|_| StateError::Breaches)?,
            mailer: mailer(&config.mail, rng.clone())?,
            keys: Arc::new(JwtKeys::new(
                &auth.signing_keys,
                &auth.issuer,
                &auth.audience,
            )?),
            revocation_list: RevocationList::default(),
            own_origins: OwnOrigins::new(&config.http),
            meter: Meter::new(config.usage.buffer, ids::uuid_v7(clock.now(), &rng)),
            cipher: Arc::new(Cipher::new(&config.encryption_keys, rng.clone())?),
            limits: Arc::new(config.limits.clone()),
            auth: Arc::new(auth.clone()),
            attempts: Arc::new(config.attempts.clone()),
            mfa: Arc::new(config.mfa.clone()),
            plans: Arc::new(config.plans.clone()),
            reports: ConcurrencyLimit::new(config.usage.reports_at_once, REPORTS_PER_ACCOUNT),
            event_writes: ConcurrencyLimit::per_caller(EVENT_WRITES_PER_ACCOUNT),
            audit: Arc::new(config.audit.clone()),
            usage: Arc::new(config.usage.clone()),
            api_keys: Arc::new(config.api_keys.clone()),
            key_uses: LastSeen::new(KEYS_NOTED),
            key_refusals: LastSeen::new(KEYS_NOTED),
            mail: Arc::new(config.mail.clone()),
            job_statement_timeout: config.worker.statement_timeout,
            version: config.telemetry.version.as_str().into(),
            started: Instant::now(),
            clock,
            rng,
        })))
    }
}

fn hasher_options(config: &PasswordConfig) -> HasherOptions {
    HasherOptions {
        cost: HashingCost {
            memory_kib: config.memory_kib,
            iterations: config.iterations,
            parallelism: config.parallelism,
        },
        threads: config.threads,
        queue_timeout: config.queue_timeout,
    }
}

fn database_options(config: &DatabaseConfig) -> db::Options {
    db::Options {
        url: config.url.clone(),
        application_name: migrate::APPLICATION_NAME,
        statement_log: migrate::statement_log(config),
        schema_version: migrate::schema_version(),
        max_connections: config.max_connections,
        acquire_timeout: config.acquire_timeout,
        max_lifetime: config.max_lifetime,
        connect_timeout: config.connect_timeout,
        statement_timeout: config.statement_timeout,
        lock_timeout: config.lock_timeout,
        idle_transaction_timeout: config.idle_transaction_timeout,
    }
}

/// The mailer of the configured server.
pub fn mailer(config: &MailConfig, rng: Rng) -> Result<Mailer, StateError> {
    let options = email_transport::Options {
        server: config.server.clone(),
        hello_name: config.hello_name.clone(),
        certificates: config.certificates.clone(),
        from: config.from.clone(),
        timeout: config.timeout,
    };
    Mailer::new(options, rng).map_err(|_| StateError::Mail)
}
