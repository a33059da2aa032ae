//! Every setting of the service, declared once by section in `src/config/`.
//!
//! [`Config::read`] reads them all and reports every fault at once. `docs/configuration.md` and
//! `.env.production.example` are rendered from the same declarations.

mod api_keys;
mod attempts;
mod auth;
mod billing;
mod erasure;
mod files;
mod idempotency;
mod limits;
mod mail;
mod mfa;
mod organisations;
mod pages;
mod payments;
mod plans;
mod privacy;
mod process;
mod ring;
mod rules;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashMap;
use std::net::SocketAddr;

use redis_client::RedisConfig;
use settings::Reader;

pub use api_keys::ApiKeyConfig;
pub use attempts::AttemptsConfig;
pub use auth::AuthConfig;
pub use billing::{BillingConfig, Meter};
use crypto::Key32;
use database::DatabaseConfig;
pub use erasure::ErasureConfig;
pub use files::{Downloads, FileLimits, FilesConfig};
use http_toolkit::{DenyConfig, HttpConfig};
pub use idempotency::IdempotencyConfig;
use job_queue::WorkerConfig;
pub use limits::LimitsConfig;
pub use mail::MailConfig;
pub use mfa::{MfaConfig, MfaRequired};
use object_store::{CopyConfig, StorageConfig};
pub use organisations::OrganisationsConfig;
pub use pages::{env_example, markdown};
pub use payments::PaymentsConfig;
pub use plans::{PlansConfig, PriceId, Quota, TierConfig, YearPrice};
pub use privacy::{Document, DocumentVersion, PrivacyConfig};
pub use ring::{read_encryption_ring, read_signing_ring, read_token_ring};
use settings::{Environment, Fault, Faults};
use telemetry::{TelemetryConfig, TelemetrySettings, statement_log};
pub use usage::{AuditConfig, UsageConfig};
use virus_scanner::ScannerConfig;

settings::sections! {
    /// The settings as read, in the order of the reference page. A section follows those that its
    /// computed defaults depend on.
    Settings {
        process: process::ProcessSettings,
        http: http_toolkit::HttpSettings,
        database: database::DatabaseSettings,
        redis: redis_client::RedisSettings,
        limits: limits::LimitSettings,
        deny: http_toolkit::DenySettings,
        auth: auth::AuthSettings,
        password: crypto::HasherSettings,
        breaches: password_checks::BreachSettings,
        attempts: attempts::AttemptSettings,
        mfa: mfa::MfaSettings,
        encryption: mfa::EncryptionSettings,
        plans: plans::PlanSettings,
        billing: billing::BillingSettings,
        payments: payments::PaymentSettings,
        organisations: organisations::OrganisationSettings,
        usage: usage::UsageSettings,
        audit: usage::AuditSettings,
        privacy: privacy::PrivacySettings,
        mail: mail::MailSettings,
        api_keys: api_keys::ApiKeySettings,
        storage: object_store::StorageSettings,
        storage_copy: object_store::CopySettings,
        files: files::FileSettings,
        scanner: virus_scanner::ScannerSettings,
        idempotency: idempotency::IdempotencySettings,
        erasure: erasure::ErasureSettings,
        worker: job_queue::WorkerSettings,
        telemetry: TelemetrySettings,
    }
}

/// Name of the service in reports and traces.
const SERVICE: &str = env!("CARGO_PKG_NAME");

pub(crate) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Prefixes that only our variables have: others with one of them are reported as misspelt.
const FAMILIES: [&str; 23] = [
    "BILLING_",
    "DB_",
    "DENY_",
    "ENCRYPTION_",
    "FILE_",
    "IDEMPOTENCY_",
    "JWT_",
    "LIMIT_",
    "MAIL_",
    "MFA_",
    "PASSWORD_",
    "PAYMENT_",
    "PLAN_",
    "PRIVACY_",
    "REFRESH_",
    "SCANNER_",
    "SESSION_",
    "SMTP_",
    "STORAGE_",
    "STRIPE_",
    "TERMS_",
    "USAGE_",
    "WORKER_",
];

#[derive(Debug)]
pub struct Config {
    pub environment: Environment,
    pub docs_enabled: bool,
    /// File of the links of the start page.
    pub start_page_file: Option<String>,
    pub http: HttpConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub deny: DenyConfig,
    pub limits: LimitsConfig,
    pub auth: AuthConfig,
    pub attempts: AttemptsConfig,
    pub mfa: MfaConfig,
    /// The first encrypts, all decrypt.
    pub encryption_keys: Vec<Key32>,
    pub breaches: Option<password_checks::BreachOptions>,
    pub plans: PlansConfig,
    pub billing: BillingConfig,
    pub payments: PaymentsConfig,
    pub organisations: OrganisationsConfig,
    pub usage: UsageConfig,
    pub audit: AuditConfig,
    pub privacy: PrivacyConfig,
    pub api_keys: ApiKeyConfig,
    pub idempotency: IdempotencyConfig,
    pub erasure: ErasureConfig,
    /// `None` disables files.
    pub storage: Option<StorageConfig>,
    /// `None` disables the copy of the object store.
    pub storage_copy: Option<CopyConfig>,
    pub files: FilesConfig,
    /// `None` disables scans of files.
    pub scanner: Option<ScannerConfig>,
    pub mail: MailConfig,
    pub worker: WorkerConfig,
    pub telemetry: TelemetryConfig,
    /// Warnings: misspelt variables, and a statement log that shows nothing.
    pub suspects: Vec<Fault>,
}

/// Environment variables of the process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment() -> HashMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect()
}

impl Config {
    pub fn read(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let settings = Settings::read(&mut reader);
        rules::check(&settings, &mut reader);
        let mut suspects = reader.suspects(&FAMILIES);
        let log = settings
            .database
            .echo
            .zip(settings.telemetry.level.as_ref());
        suspects.extend(log.and_then(|(echo, level)| statement_log(echo, level)));
        let config = Self::build(settings, reader.is_production(), suspects);
        reader.finish(config)
    }

    /// Lists the settings in effect and their sources, with secrets masked.
    #[must_use]
    pub fn effective(variables: &HashMap<String, String>) -> String {
        let mut reader = Reader::new(variables);
        Settings::read(&mut reader);
        let lines: Vec<_> = reader.effective().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    fn build(all: Settings, production: bool, suspects: Vec<Fault>) -> Option<Self> {
        let environment = all.process.environment?;
        let auth = all.auth.build(all.password.build()?)?;
        let limits = all.limits.into_config(auth.reset_password_ttl)?;
        let public_url = all.http.public_url.clone()?;
        let mut plans = all.plans.into_config()?;
        let scanner = all.scanner.into_config()?;
        if let Some(scanner) = &scanner {
            plans.limit_file_size(scanner.max_size);
        }
        Some(Self {
            environment,
            docs_enabled: all.process.docs_enabled?,
            start_page_file: all.process.start_page_file?,
            http: all.http.into_config(production)?,
            database: all.database.into_config()?,
            redis: all.redis.build()?,
            deny: all.deny.build()?,
            attempts: all.attempts.into_config(&limits)?,
            limits,
            auth,
            mfa: all.mfa.build()?,
            encryption_keys: all.encryption.keys?,
            breaches: all.breaches.into_options(USER_AGENT)?,
            billing: all.billing.into_config(public_url)?,
            payments: all.payments.into_config(&plans.currency)?,
            plans,
            organisations: all.organisations.build()?,
            usage: all.usage.build()?,
            audit: all.audit.build()?,
            privacy: all.privacy.build()?,
            api_keys: all.api_keys.into_config(production)?,
            idempotency: all.idempotency.build()?,
            erasure: all.erasure.build()?,
            storage_copy: all.storage_copy.into_config(all.storage.timeout?)?,
            storage: all.storage.into_config()?,
            files: all.files.build()?,
            scanner,
            mail: all.mail.build()?,
            worker: all.worker.build()?,
            telemetry: all.telemetry.build(SERVICE, environment.as_str())?,
            suspects,
        })
    }
}

/// Reads some sections without the others.
fn read_section<T>(
    variables: &HashMap<String, String>,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, Faults> {
    let mut reader = Reader::new(variables);
    process::ProcessSettings::environment(&mut reader);
    let value = read(&mut reader);
    reader.finish(value)
}

/// Reads the settings of the database alone.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_database(variables: &HashMap<String, String>) -> Result<DatabaseConfig, Faults> {
    read_section(variables, |reader| {
        let settings = database::DatabaseSettings::read(reader);
        settings.check(reader);
        settings.into_config()
    })
}

/// Reads the settings of logs, metrics, traces and error reports alone.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_telemetry(variables: &HashMap<String, String>) -> Result<TelemetryConfig, Faults> {
    read_section(variables, |reader| {
        let settings = TelemetrySettings::read(reader);
        settings.build(SERVICE, reader.environment().as_str())
    })
}

/// Reads the listener's address alone.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_bind_addr(variables: &HashMap<String, String>) -> Result<SocketAddr, Faults> {
    read_section(variables, http_toolkit::HttpSettings::bind_addr)
}
