//! What a handler may ask for. A handler's signature names the parts it uses, and so tells its
//! reach.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRef;

use crate::config::{AuthConfig, Config, MailConfig, PlansConfig};
use crate::infra::db::{self, Pulse};
use crate::infra::{BadKey, Breaches, Clock, Db, Denylist, Hasher, Mailer, Redis, Rng, TokenKeys};
use crate::web::OwnOrigins;

/// Everything that handlers and jobs share; a clone is another handle on the same things.
#[derive(Clone, Debug, FromRef)]
pub struct AppState {
    /// PostgreSQL, as the runtime role.
    pub db: Db,
    /// Whether PostgreSQL answers at all.
    pub pulse: Pulse,
    /// Redis, where there is one.
    pub redis: Option<Redis>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// The password hashing pool.
    pub hasher: Hasher,
    /// Passwords known from breaches, where they can be asked for.
    pub breaches: Option<Breaches>,
    /// The mail server.
    pub mailer: Mailer,
    /// The signing keys of access tokens.
    pub keys: Arc<TokenKeys>,
    /// Sessions that have ended while their access tokens still run.
    pub ended_sessions: Denylist,
    /// The pages that may act for somebody who signed in with cookies.
    pub own_origins: OwnOrigins,
    /// Settings of tokens, sessions and passwords.
    pub auth: Arc<AuthConfig>,
    /// Plans and prices.
    pub plans: Arc<PlansConfig>,
    /// Settings of letters.
    pub mail: Arc<MailConfig>,
    /// The release, as `/health` names it.
    pub version: Arc<str>,
    /// When the process started.
    pub started: Instant,
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
}

impl AppState {
    /// Builds the state. Nothing is connected to yet, so that it also works while the world around
    /// is down. Runs inside a Tokio runtime.
    pub fn new(config: &Config, clock: Clock, rng: Rng) -> Result<Self, StateError> {
        let redis = config
            .redis_url
            .as_ref()
            .map(Redis::connect_lazy)
            .transpose();
        let breaches = config.breaches.as_ref().map(Breaches::new).transpose();
        let auth = &config.auth;
        let (db, pulse) = db::connect_lazy(&config.database)?;
        Ok(Self {
            db,
            pulse,
            redis: redis.map_err(|error| StateError::Redis(error.to_string()))?,
            hasher: Hasher::start(&auth.password, rng.clone()),
            breaches: breaches.map_err(|_| StateError::Breaches)?,
            mailer: Mailer::new(&config.mail).map_err(|_| StateError::Mail)?,
            keys: Arc::new(TokenKeys::new(
                &auth.signing_keys,
                &auth.issuer,
                &auth.audience,
            )?),
            ended_sessions: Denylist::default(),
            own_origins: OwnOrigins::new(&config.http),
            auth: Arc::new(auth.clone()),
            plans: Arc::new(config.plans.clone()),
            mail: Arc::new(config.mail.clone()),
            version: config.telemetry.version.as_str().into(),
            started: Instant::now(),
            clock,
            rng,
        })
    }
}
