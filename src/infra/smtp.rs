//! The mail server, spoken to by SMTP (RFC 5321) over TLS where its URL says `smtps`.

use std::time::{Duration, Instant};

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use crate::config::MailConfig;
use crate::metrics::{self, CallOutcome};

/// Sends letters; a clone is another handle on the same connections.
#[derive(Clone, Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

/// Why a letter could not be handed to the mail server.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The letter cannot be written as RFC 5322 wants it.
    #[error("the letter cannot be composed")]
    Compose(#[from] lettre::error::Error),
    /// The server is away, or it refused. Its own words are left out, since they quote addresses.
    #[error("the mail server is away or refused ({})", reason(.0))]
    Transport(#[from] lettre::transport::smtp::Error),
    /// It did not take the letter in time.
    #[error("the mail server did not take the letter in time")]
    Timeout,
}

/// The reply code (RFC 5321 §4.2), or what kept the server from replying.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => code.to_string(),
        None if error.is_timeout() => "timeout".to_owned(),
        None => "no connection".to_owned(),
    }
}

fn outcome(error: Option<&lettre::transport::smtp::Error>) -> CallOutcome {
    match error {
        None => CallOutcome::Ok,
        Some(error) if error.status().is_some() => CallOutcome::Refused,
        Some(error) if error.is_timeout() => CallOutcome::Timeout,
        Some(_) => CallOutcome::Unreachable,
    }
}

impl Mailer {
    /// A mailer for the configured server; it connects when first used.
    pub fn new(config: &MailConfig) -> Result<Self, lettre::transport::smtp::Error> {
        let transport =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(config.smtp_url.expose_secret())?
                .timeout(Some(config.timeout))
                // None is kept: one whose letter was given up halfway must not carry another.
                .pool_config(PoolConfig::new().max_size(0))
                .build();
        Ok(Self {
            transport,
            from: config.from.clone(),
            timeout: config.timeout,
        })
    }

    /// Whether the mail server greets us, and takes our credentials.
    pub async fn ping(&self) -> Result<(), SendError> {
        self.transport.test_connection().await?;
        Ok(())
    }

    /// Sends one letter as HTML with a plain text twin. Header values are encoded, so that no part
    /// of them can begin a header of its own.
    pub async fn send(
        &self,
        to: Mailbox,
        subject: &str,
        text: String,
        html: String,
    ) -> Result<(), SendError> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            // Automatic replies to automatic letters go round in circles (RFC 3834 §5).
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(text, html))?;
        let began = Instant::now();
        // The library's own limit ends with the handshake.
        let Ok(sent) = timeout(self.timeout, self.transport.send(message)).await else {
            metrics::observe_smtp(began, CallOutcome::Timeout);
            return Err(SendError::Timeout);
        };
        metrics::observe_smtp(began, outcome(sent.as_ref().err()));
        sent?;
        Ok(())
    }
}

#[derive(Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
