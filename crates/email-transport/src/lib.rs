//! SMTP client (RFC 5321). Each email has a connection of its own: one that was given up halfway must
//! not carry another.

mod address;
mod email;
mod error;
mod mailbox;
pub mod metrics;
mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::settings::host::{is_common_password, is_private};
use clock::Rng;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
pub use lettre::transport::smtp::extension::ClientId;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant as Deadline, timeout_at};
use tracing::Instrument as _;
use url::Host;

pub use self::address::EmailAddress;
pub use self::email::Email;
pub use self::error::SendError;
use self::error::Step;
pub use self::mailbox::mailbox_of;
pub use self::settings::{Certificates, Ehlo, Sender, SmtpUrl, default_hello_name};

/// Time limit of QUIT, when the email has been accepted or refused.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

type SmtpResult<T> = Result<T, lettre::transport::smtp::Error>;

/// Sends emails; clones share the settings.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    options: Options,
    tls: TlsParameters,
    rng: Rng,
}

/// Settings of a [`Mailer`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Mail server.
    pub server: SmtpServer,
    /// Name for EHLO.
    pub hello_name: ClientId,
    /// Certificate authorities in PEM, besides the public ones.
    pub certificates: Vec<String>,
    /// Sender.
    pub from: Mailbox,
    /// Time limit of a delivery.
    pub timeout: Duration,
}

/// Mail server.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Host name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// When TLS begins.
    pub tls: SmtpTls,
    /// User name and password.
    pub credentials: Option<(String, SecretString)>,
}

impl SmtpServer {
    /// Returns whether emails are sent encrypted or not at all.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        matches!(self.tls, SmtpTls::Required | SmtpTls::Implicit)
    }

    /// Returns whether emails are sent encrypted or not at all, or within a private network.
    #[must_use]
    pub fn is_encrypted_or_private(&self) -> bool {
        self.requires_tls() || is_private(&self.host.to_string())
    }

    /// Returns whether the password is one that everybody tries.
    #[must_use]
    pub fn has_common_password(&self) -> bool {
        let credentials = self.credentials.as_ref();
        credentials
            .is_some_and(|(user, password)| is_common_password(user, password.expose_secret()))
    }
}

/// When TLS begins on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Never.
    Never,
    /// By STARTTLS where the server offers it.
    Opportunistic,
    /// By STARTTLS, or nothing is sent.
    Required,
    /// On connect.
    Implicit,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// Creates a mailer. It connects for each email.
    pub fn new(options: Options, rng: Rng) -> SmtpResult<Self> {
        let tls = TlsParameters::builder(plain_host(&options.server.host))
            .certificate_store(CertificateStore::WebpkiRoots);
        let tls = accepted_roots(&options.certificates)?
            .into_iter()
            .fold(tls, TlsParametersBuilder::add_root_certificate)
            .build()?;
        Ok(Self(Arc::new(Inner { options, tls, rng })))
    }

    /// Tries all steps up to `MAIL FROM`; no recipient is sure to exist.
    pub async fn check(&self, within: Duration) -> Result<(), SendError> {
        let until = Deadline::now() + self.0.options.timeout.min(within);
        let mut connection = self.connect(until).await?;
        let checked = async {
            self.mail_from(&mut connection, until).await?;
            step(Step::Sender, until, connection.command(Rset)).await
        };
        let checked = checked.await;
        quit(&mut connection).await;
        checked.map(drop)
    }

    /// Sends one email as HTML with a plain text alternative.
    pub async fn send(&self, email: Email) -> Result<(), SendError> {
        let recipient = email.to.email.clone();
        let id = email.id.unwrap_or_else(|| self.0.rng.bytes());
        let message = email.compose(self.0.options.from.clone(), id)?;
        let began = Instant::now();
        let span = tracing::info_span!(
            target: "otel",
            "smtp send",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            server.address = %self.0.options.server.host,
        );
        let message = message.formatted();
        let sent = self.deliver(&recipient, &message);
        let sent = sent.instrument(span.clone()).await;
        if sent.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_send(began, &sent);
        sent
    }

    async fn deliver(&self, to: &lettre::Address, message: &[u8]) -> Result<(), SendError> {
        let until = Deadline::now() + self.0.options.timeout;
        let mut connection = self.connect(until).await?;
        let delivered = async {
            self.mail_from(&mut connection, until).await?;
            let rcpt = Rcpt::new(to.clone(), Vec::new());
            step(Step::Recipient, until, connection.command(rcpt)).await?;
            step(Step::Message, until, connection.command(Data)).await?;
            step(Step::Message, until, connection.message(message)).await
        };
        let delivered = delivered.await;
        quit(&mut connection).await;
        delivered.map(drop)
    }

    /// `MAIL FROM` without extensions: addresses and messages are ASCII.
    async fn mail_from(
        &self,
        connection: &mut AsyncSmtpConnection,
        until: Deadline,
    ) -> Result<(), SendError> {
        let mail = Mail::new(Some(self.0.options.from.email.clone()), Vec::new());
        step(Step::Sender, until, connection.command(mail)).await?;
        Ok(())
    }

    /// Connects, with TLS and authentication as configured.
    async fn connect(&self, until: Deadline) -> Result<AsyncSmtpConnection, SendError> {
        let Inner { options, tls, .. } = &*self.0;
        let Options {
            server,
            hello_name,
            timeout,
            ..
        } = options;
        let found = lookup_host((plain_host(&server.host), server.port));
        let found = timeout_at(until, found).await;
        let addresses: Vec<_> = found
            .map_err(|_| SendError::Timeout(Step::Resolve))?
            .map_err(SendError::Resolve)?
            .collect();
        let mut connection = if server.tls == SmtpTls::Implicit {
            let connect = AsyncSmtpConnection::connect_tokio1(
                addresses.as_slice(),
                Some(*timeout),
                hello_name,
                Some(tls.clone()),
                None,
            );
            step(Step::Connect, until, connect).await?
        } else {
            let stream = connect_tcp(&addresses, until).await?;
            let greet = AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello_name);
            step(Step::Greeting, until, greet).await?
        };
        let can_upgrade = connection.can_starttls();
        match server.tls {
            SmtpTls::Required if !can_upgrade => return Err(SendError::NoStartTls),
            SmtpTls::Required | SmtpTls::Opportunistic if can_upgrade => {
                let upgrade = connection.starttls(tls.clone(), hello_name);
                step(Step::StartTls, until, upgrade).await?;
            }
            _ => {}
        }
        if let Some((user, password)) = &server.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let auth = connection.auth(DEFAULT_MECHANISMS, &credentials);
            step(Step::Auth, until, auth).await?;
        }
        Ok(connection)
    }
}

/// Certificates that the TLS library accepts as roots; bundles of operating systems have others as well.
/// An error when none is accepted.
fn accepted_roots(all: &[String]) -> SmtpResult<Vec<Certificate>> {
    let mut found = Vec::new();
    let mut last = Ok(found.clone());
    for pem in all {
        let certificate = Certificate::from_pem(pem.as_bytes());
        let accepted = certificate.and_then(|certificate| {
            let probe = TlsParameters::builder("localhost".to_owned());
            let probe = probe.certificate_store(CertificateStore::None);
            let probe = probe.add_root_certificate(certificate.clone());
            probe.build().map(|_| certificate)
        });
        match accepted {
            Ok(certificate) => found.push(certificate),
            Err(error) => last = Err(error),
        }
    }
    if found.is_empty() { last } else { Ok(found) }
}

/// The host without brackets around an IPv6 address.
fn plain_host(host: &Host) -> String {
    match host {
        Host::Ipv6(ip) => ip.to_string(),
        other => other.to_string(),
    }
}

/// Connects to the first address that accepts.
async fn connect_tcp(addresses: &[SocketAddr], until: Deadline) -> Result<TcpStream, SendError> {
    let mut last = None;
    for address in addresses {
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(_) => return Err(SendError::Timeout(Step::Connect)),
        }
    }
    let none = || std::io::Error::other("the name has no address");
    Err(SendError::Connect(last.unwrap_or_else(none)))
}

/// Runs one step of the protocol until the deadline.
async fn step<T>(
    step: Step,
    until: Deadline,
    dialog: impl Future<Output = SmtpResult<T>>,
) -> Result<T, SendError> {
    match timeout_at(until, dialog).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(SendError::in_step(step, &error)),
        Err(_) => Err(SendError::Timeout(step)),
    }
}

/// Ends the session, whatever the reply.
async fn quit(connection: &mut AsyncSmtpConnection) {
    let until = Deadline::now() + QUIT_TIMEOUT;
    drop(timeout_at(until, connection.abort()).await);
}
