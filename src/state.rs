//! Application state, shared by handlers, jobs and CLI commands.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRef;
use cache::{Cache, LastSeen};
use clock::{Clock, Rng};
use crypto::{BadKey, Cipher, Hasher, MacRing, NoKey};
use database::{Db, Heartbeat, Replica};
use email_transport::Mailer;
use http_toolkit::TrustedOrigins;
use object_store::{CopyConfig, ObjectStore};
use password_checks::Breaches;
use rate_limit::{AttemptSlots, ConcurrencyLimit, Limiter};
use redis_client::Redis;
use session_tokens::{AccessTokenOptions, AccessTokens, RevocationList};
use stripe_client::{Stripe, StripeOptions};
use url::Url;
use usage_meter::Meter;
use virus_scanner::Scanner;

use crate::config::{
    ApiKeyConfig, AttemptsConfig, AuditConfig, AuthConfig, BillingConfig, Config, ErasureConfig,
    FilesConfig, IdempotencyConfig, LimitsConfig, MailConfig, MfaConfig, OrganisationsConfig,
    PaymentsConfig, PlansConfig, PrivacyConfig, USER_AGENT, UsageConfig,
};
use crate::ids::ApiKeyId;
use crate::schema;

/// Maximum number of API keys whose last use or rejection is kept in memory, about 80 bytes each.
const TRACKED_KEYS: usize = 20_000;

const REPORTS_PER_ACCOUNT: usize = 2;

/// Concurrent requests of one account that store events. A row lock serializes them anyway.
const EVENT_WRITES_PER_ACCOUNT: usize = 2;

/// Concurrent decodings of pictures, each of up to 200 MiB.
const PICTURES: usize = 2;

/// Cheap to clone, since every middleware clones it.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Parts>);

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

#[derive(Debug)]
pub struct Parts {
    /// Connects as the runtime role.
    pub db: Db,
    pub heartbeat: Heartbeat,
    /// Standby for reads that tolerate lag: by `Ctx::lagging_reads`. `None` without `DATABASE_READ_URL`.
    pub replica: Option<Replica>,
    pub redis: Option<Redis>,
    pub cache: Cache,
    pub limiter: Limiter,
    pub limits: Arc<LimitsConfig>,
    pub clock: Clock,
    pub rng: Rng,
    pub attempt_slots: AttemptSlots,
    pub hasher: Hasher,
    pub breaches: Option<Breaches>,
    pub mailer: Mailer,
    pub access_tokens: Arc<AccessTokens>,
    /// Makes and verifies the tags of refresh tokens.
    pub refresh_macs: MacRing,
    /// Derives the successors of legacy refresh tokens.
    pub successor_macs: MacRing,
    pub csrf_macs: MacRing,
    /// Derives the password salts of sign-ups from their address.
    pub sign_up_macs: MacRing,
    /// Makes and verifies the tokens of links that unsubscribe.
    pub unsubscribe_macs: MacRing,
    /// Hashes suppressed addresses.
    pub suppression_macs: MacRing,
    /// Hashes requests with an idempotency key, whose bodies can have a password.
    pub idempotency_macs: MacRing,
    pub revocation_list: RevocationList,
    /// Origins that may send requests with cookies.
    pub trusted_origins: TrustedOrigins,
    pub meter: Meter,
    pub cipher: Arc<Cipher>,
    pub auth: Arc<AuthConfig>,
    pub attempts: Arc<AttemptsConfig>,
    pub mfa: Arc<MfaConfig>,
    pub plans: Arc<PlansConfig>,
    pub billing: Arc<BillingConfig>,
    pub payments: Arc<PaymentsConfig>,
    /// `None` if billing is not configured.
    pub stripe: Option<Stripe>,
    /// `None` if storage is not configured.
    pub storage: Option<ObjectStore>,
    /// `None` if there is no copy of the object store.
    pub storage_copy: Option<StorageCopy>,
    /// `None` if files are not scanned.
    pub scanner: Option<Scanner>,
    pub files: Arc<FilesConfig>,
    /// `PUBLIC_URL`
    pub public_url: Url,
    /// Address of all avatars, which ends with a slash.
    pub avatar_root: Arc<str>,
    /// Concurrent decodings of pictures.
    pub pictures: ConcurrencyLimit,
    pub organisations: Arc<OrganisationsConfig>,
    /// Concurrent usage reports.
    pub reports: ConcurrencyLimit,
    /// Concurrent requests that store events.
    pub event_writes: ConcurrencyLimit,
    pub audit: Arc<AuditConfig>,
    pub privacy: Arc<PrivacyConfig>,
    pub usage: Arc<UsageConfig>,
    pub api_keys: Arc<ApiKeyConfig>,
    /// Last use of API keys, until it is written.
    pub key_uses: LastSeen<ApiKeyId>,
    /// Last rejection of API keys for a missing scope.
    pub key_refusals: LastSeen<ApiKeyId>,
    pub idempotency: Arc<IdempotencyConfig>,
    pub erasure: Arc<ErasureConfig>,
    /// `HTTP_REQUEST_TIMEOUT`
    pub request_timeout: Duration,
    pub mail: Arc<MailConfig>,
    /// `WORKER_STATEMENT_TIMEOUT`
    pub job_statement_timeout: Duration,
    pub version: Arc<str>,
    pub started: Instant,
}

/// Second place of the objects.
#[derive(Debug)]
pub struct StorageCopy {
    pub store: ObjectStore,
    /// `STORAGE_COPY_RETENTION`
    pub retention: Duration,
}

impl StorageCopy {
    fn new(config: &CopyConfig) -> Self {
        Self {
            store: ObjectStore::new(&config.store),
            retention: config.retention,
        }
    }
}

/// Makes parts of the state available to axum's `State` extractor.
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
    cache: Cache,
    plans: Arc<PlansConfig>,
}

/// A setting is well-formed and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error("DATABASE_READ_URL cannot be used: {0}")]
    Replica(#[source] sqlx::Error),
    #[error("REDIS_URL cannot be used: {0}")]
    Redis(String),
    #[error("BREACH_CHECK_URL cannot be used")]
    Breaches,
    #[error("STRIPE_API_URL cannot be used")]
    Stripe,
    #[error("SMTP_URL cannot be used")]
    Mail,
    #[error("JWT_SIGNING_KEYS cannot be used: {0}")]
    Keys(#[from] BadKey),
    #[error("ENCRYPTION_KEYS cannot be used: {0}")]
    Encryption(#[from] NoKey),
}

impl AppState {
    /// Connects lazily, so that it succeeds while dependencies are unavailable. Must run inside a Tokio runtime.
    pub fn new(config: &Config, clock: Clock, rng: Rng) -> Result<Self, StateError> {
        let redis = config
            .redis
            .servers()
            .map(|servers| Redis::connect_lazy_to(&servers, config.redis.timeout))
            .transpose()
            .map_err(|error| StateError::Redis(error.to_string()))?;
        let breaches = config.breaches.as_ref().map(Breaches::new).transpose();
        let auth = &config.auth;
        let options = schema::connection_options(&config.database);
        let (db, heartbeat) = database::connect_lazy(&config.database, &options, clock.clone())?;
        let replica = database::connect_replica(&config.database, &options);
        Ok(Self(Arc::new(Parts {
            db,
            heartbeat,
            replica: replica.map_err(StateError::Replica)?,
            cache: Cache::new(redis.clone(), clock.clone(), rng.clone()),
            limiter: Limiter::new(redis.clone(), clock.clone(), &auth.token_secrets),
            refresh_macs: MacRing::derived(&auth.token_secrets, "refresh token key"),
            successor_macs: MacRing::new(&auth.token_secrets),
            csrf_macs: MacRing::derived(&auth.token_secrets, "csrf token key"),
            sign_up_macs: MacRing::derived(&auth.token_secrets, "sign-up salt key"),
            unsubscribe_macs: MacRing::derived(&auth.token_secrets, "unsubscribe link key"),
            suppression_macs: MacRing::derived(&auth.token_secrets, "email suppression key"),
            idempotency_macs: MacRing::derived(&auth.token_secrets, "idempotency request key"),
            redis,
            attempt_slots: AttemptSlots::default(),
            hasher: Hasher::start(auth.password, rng.clone()),
            breaches: breaches.map_err(|_| StateError::Breaches)?,
            mailer: mailer(&config.mail, rng.clone())?,
            access_tokens: Arc::new(AccessTokens::new(
                &auth.signing_keys,
                access_token_options(auth),
            )?),
            revocation_list: RevocationList::default(),
            trusted_origins: TrustedOrigins::new(&config.http),
            meter: Meter::new(config.usage.buffer, clock::uuid_v7(clock.now(), &rng)),
            cipher: Arc::new(Cipher::new(&config.encryption_keys, rng.clone())?),
            limits: Arc::new(config.limits.clone()),
            auth: Arc::new(auth.clone()),
            attempts: Arc::new(config.attempts.clone()),
            mfa: Arc::new(config.mfa.clone()),
            plans: Arc::new(config.plans.clone()),
            billing: Arc::new(config.billing.clone()),
            payments: Arc::new(config.payments.clone()),
            stripe: stripe(&config.billing, rng.clone())?,
            storage: config.storage.as_ref().map(ObjectStore::new),
            storage_copy: config.storage_copy.as_ref().map(StorageCopy::new),
            scanner: config.scanner.as_ref().map(Scanner::new),
            files: Arc::new(config.files.clone()),
            public_url: config.billing.public_url.clone(),
            avatar_root: avatar_root(&config.billing.public_url),
            pictures: ConcurrencyLimit::new(PICTURES, 1),
            organisations: Arc::new(config.organisations.clone()),
            reports: ConcurrencyLimit::new(config.usage.reports_at_once, REPORTS_PER_ACCOUNT),
            event_writes: ConcurrencyLimit::per_caller(EVENT_WRITES_PER_ACCOUNT),
            audit: Arc::new(config.audit.clone()),
            privacy: Arc::new(config.privacy.clone()),
            usage: Arc::new(config.usage.clone()),
            api_keys: Arc::new(config.api_keys.clone()),
            key_uses: LastSeen::new(TRACKED_KEYS),
            key_refusals: LastSeen::new(TRACKED_KEYS),
            idempotency: Arc::new(config.idempotency.clone()),
            erasure: Arc::new(config.erasure.clone()),
            request_timeout: config.http.request_timeout,
            mail: Arc::new(config.mail.clone()),
            job_statement_timeout: config.worker.statement_timeout,
            version: config.telemetry.version.as_str().into(),
            started: Instant::now(),
            clock,
            rng,
        })))
    }
}

impl AppState {
    /// Closes the pools of the database.
    pub async fn close_pools(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.db.close().await;
    }
}

fn access_token_options(config: &AuthConfig) -> AccessTokenOptions {
    AccessTokenOptions {
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        ttl: config.access_ttl,
        leeway: config.leeway,
    }
}

fn avatar_root(public_url: &Url) -> Arc<str> {
    let root = public_url.as_str().trim_end_matches('/');
    format!("{root}/api/v1/avatars/").into()
}

fn stripe(config: &BillingConfig, rng: Rng) -> Result<Option<Stripe>, StateError> {
    let Some(secret_key) = config.secret_key.clone() else {
        return Ok(None);
    };
    let options = StripeOptions {
        api_url: config.api_url.clone(),
        secret_key,
        timeout: config.timeout,
        calls_per_second: config.calls_per_second,
        user_agent: USER_AGENT,
    };
    let client = Stripe::new(options, rng);
    client.map(Some).map_err(|_| StateError::Stripe)
}

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
