//! The mail server, by SMTP (RFC 5321). Each email has a connection of its own: one that was given up
//! halfway must not carry another.

mod error;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::Message;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret as _;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant as Deadline, timeout_at};
use tracing::Instrument as _;
use url::Host;

pub use self::error::SendError;
use self::error::Step;
use super::Rng;
use crate::config::{HelloName, MailConfig, SmtpServer, SmtpTls};
use crate::metrics;

/// How long the server may take to reply to QUIT. The email is taken or refused by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

type SmtpResult<T> = Result<T, lettre::transport::smtp::Error>;

/// Sends emails; a clone is another handle on the same settings.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    server: SmtpServer,
    tls: TlsParameters,
    hello_name: ClientId,
    from: Mailbox,
    timeout: Duration,
    rng: Rng,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// A mailer for the configured server; it connects for each email.
    pub fn new(config: &MailConfig, rng: Rng) -> SmtpResult<Self> {
        let server = config.server.clone();
        // The public authorities, and those of the configuration.
        let store = CertificateStore::WebpkiRoots;
        let tls = TlsParameters::builder(plain_host(&server.host)).certificate_store(store);
        let tls = usable(&config.certificates)?
            .into_iter()
            .fold(tls, TlsParametersBuilder::add_root_certificate);
        Ok(Self(Arc::new(Inner {
            server,
            tls: tls.build()?,
            hello_name: match &config.hello_name {
                HelloName::Domain(name) => ClientId::Domain(name.clone()),
                HelloName::Ipv4(ip) => ClientId::Ipv4(*ip),
                HelloName::Ipv6(ip) => ClientId::Ipv6(*ip),
            },
            from: config.from.clone(),
            timeout: config.timeout,
            rng,
        })))
    }

    /// Goes through all that sending does up to the sender's address: name, connection, greeting, TLS,
    /// credentials and `MAIL FROM`. There is no recipient to try that is sure to exist.
    pub async fn check(&self, within: Duration) -> Result<(), SendError> {
        let until = Deadline::now() + self.0.timeout.min(within);
        let mut connection = self.connect(until).await?;
        let checked = async {
            self.mail_from(&mut connection, until).await?;
            step(Step::Sender, until, connection.command(Rset)).await
        };
        let checked = checked.await;
        quit(&mut connection).await;
        checked.map(drop)
    }

    /// Sends one email as HTML with a plain text alternative. Header values are encoded, so that no
    /// part of them can begin a header of its own.
    pub async fn send(
        &self,
        to: Mailbox,
        subject: &str,
        text: String,
        html: String,
    ) -> Result<(), SendError> {
        let recipient = to.email.clone();
        let message = Message::builder()
            .message_id(Some(self.message_id()))
            .from(self.0.from.clone())
            .to(to)
            .subject(subject)
            // Automatic replies to automatic emails go round in circles (RFC 3834 §5).
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(text, html))?;
        let began = Instant::now();
        let span = tracing::info_span!(
            target: "otel",
            "smtp send",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            server.address = %self.0.server.host,
        );
        let message = message.formatted();
        let sent = self.deliver(&recipient, &message);
        let sent = sent.instrument(span.clone()).await;
        if sent.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        metrics::observe_smtp(began, error::outcome(sent.as_ref().err()));
        sent
    }

    async fn deliver(&self, to: &lettre::Address, message: &[u8]) -> Result<(), SendError> {
        let until = Deadline::now() + self.0.timeout;
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

    /// `MAIL FROM`. Addresses and messages are ASCII, so no extension is asked for.
    async fn mail_from(
        &self,
        connection: &mut AsyncSmtpConnection,
        until: Deadline,
    ) -> Result<(), SendError> {
        let mail = Mail::new(Some(self.0.from.email.clone()), Vec::new());
        step(Step::Sender, until, connection.command(mail)).await?;
        Ok(())
    }

    /// A connection on which an email may be sent: greeted, encrypted and authenticated as configured.
    async fn connect(&self, until: Deadline) -> Result<AsyncSmtpConnection, SendError> {
        let Inner {
            server,
            tls,
            hello_name,
            timeout,
            ..
        } = &*self.0;
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

    /// A random id at the sender's domain (RFC 5322 §3.6.4).
    fn message_id(&self) -> String {
        let random = u128::from_be_bytes(self.0.rng.bytes());
        format!("<{random:032x}@{}>", self.0.from.email.domain())
    }
}

/// The certificates that the TLS library accepts as roots. Bundles of operating systems have some that
/// it does not; the others are still good. It is an error when there are some and all are unusable.
fn usable(all: &[String]) -> SmtpResult<Vec<Certificate>> {
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

/// The host as the resolver and the TLS library want it: an IPv6 address without brackets.
fn plain_host(host: &Host) -> String {
    match host {
        Host::Ipv6(ip) => ip.to_string(),
        other => other.to_string(),
    }
}

/// A TCP connection to the first of these addresses that accepts one.
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

/// One exchange with the server; a failure has the step's name.
async fn step<T>(
    step: Step,
    until: Deadline,
    exchange: impl Future<Output = SmtpResult<T>>,
) -> Result<T, SendError> {
    match timeout_at(until, exchange).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(SendError::in_step(step, &error)),
        Err(_) => Err(SendError::Timeout(step)),
    }
}

/// Ends the session; the reply makes no difference any more.
async fn quit(connection: &mut AsyncSmtpConnection) {
    let until = Deadline::now() + QUIT_TIMEOUT;
    drop(timeout_at(until, connection.abort()).await);
}

#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
