//! Clients of the SDK: TLS, credentials, timeouts and what stores other than AWS need.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::{Builder, tls};
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use url::Url;

use crate::config::StorageConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(100);

/// How long a body may stand still.
const STALLED: Duration = Duration::from_secs(5);

/// The client of calls, and the one whose URLs clients use.
pub(crate) struct Clients {
    pub(crate) inner: aws_sdk_s3::Client,
    pub(crate) public: aws_sdk_s3::Client,
}

impl Clients {
    pub(crate) fn new(config: &StorageConfig) -> Self {
        let crypto = tls::rustls_provider::CryptoMode::AwsLc;
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(crypto))
            .build_https();
        let credentials = credentials(config, &http);
        let client = |endpoint: Option<&Url>| {
            let config = sdk_config(config, endpoint, http.clone(), credentials.clone());
            aws_sdk_s3::Client::from_conf(config)
        };
        let public = config.public_endpoint.as_ref();
        Self {
            inner: client(config.endpoint.as_ref()),
            public: client(public.or(config.endpoint.as_ref())),
        }
    }
}

fn sdk_config(
    config: &StorageConfig,
    endpoint: Option<&Url>,
    http: SharedHttpClient,
    credentials: SharedCredentialsProvider,
) -> Config {
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(BACKOFF);
    let builder = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .http_client(http)
        .retry_config(retries)
        .timeout_config(timeouts(config.timeout))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(STALLED)
                .build(),
        );
    let Some(endpoint) = endpoint else {
        return builder.build();
    };
    // Stores other than AWS refuse checksums that they do not know, and have no host for each bucket.
    builder
        .endpoint_url(endpoint.as_str().trim_end_matches('/'))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build()
}

/// Of an operation whose attempts all together may take `whole`.
pub(crate) fn timeouts(whole: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(whole * 3 / 4)
        .operation_timeout(whole)
        .build()
}

/// For a call whose body is sent as it arrives: no retry, and no timeout but that of [`crate::Put`] for inactivity.
pub(crate) fn streaming() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .disable_operation_attempt_timeout()
        .disable_operation_timeout();
    Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

fn credentials(config: &StorageConfig, http: &SharedHttpClient) -> SharedCredentialsProvider {
    let Some(key) = &config.access_key else {
        let region = Some(Region::new(config.region.clone()));
        return SharedCredentialsProvider::new(MachineRole {
            chain: OnceCell::new(),
            config: ProviderConfig::empty()
                .with_region(region)
                .with_http_client(http.clone()),
        });
    };
    let secret = key.secret.expose_secret();
    SharedCredentialsProvider::new(Credentials::new(&key.id, secret, None, None, "settings"))
}

/// Role of the machine in AWS: of the instance, the container or the service account.
#[derive(Debug)]
struct MachineRole {
    /// Built at the first use, since building it reads files.
    chain: OnceCell<DefaultCredentialsChain>,
    config: ProviderConfig,
}

impl ProvideCredentials for MachineRole {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(async {
            let build = || async {
                let builder = DefaultCredentialsChain::builder();
                builder.configure(self.config.clone()).build().await
            };
            let chain = self.chain.get_or_init(build).await;
            chain.provide_credentials().await
        })
    }
}
