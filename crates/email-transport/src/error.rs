//! Send errors: the step that failed and its cause, without addresses.

use std::error::Error as _;
use std::fmt;
use std::io;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::response::{Code, Severity};

/// Step of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// DNS lookup.
    Resolve,
    /// The TCP connection; with implicit TLS, TLS and greeting as well.
    Connect,
    /// The server's greeting and EHLO.
    Greeting,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA and the message.
    Message,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name lookup",
            Self::Connect => "connection",
            Self::Greeting => "greeting",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Message => "DATA",
        })
    }
}

/// Negative reply: its code (RFC 5321 §4.2) and enhanced code (RFC 3463), without its text, which quotes
/// addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    enhanced: Option<String>,
    /// Returns whether the text mentions relaying, which some servers reject without an enhanced code.
    is_about_relaying: bool,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match &self.enhanced {
            Some(enhanced) => write!(f, " {enhanced}"),
            None => Ok(()),
        }
    }
}

/// Failure to send an email.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not a valid message (RFC 5322).
    #[error("the email cannot be composed")]
    Compose(#[from] lettre::error::Error),
    /// DNS lookup failed.
    #[error("the mail server's name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// TCP connection failed.
    #[error("the mail server cannot be connected to: {0}")]
    Connect(io::Error),
    /// TLS handshake failed, most often because of the certificate.
    #[error("TLS with the mail server failed: {0}")]
    Tls(String),
    /// STARTTLS is required and not offered.
    #[error("the mail server does not offer STARTTLS")]
    NoStartTls,
    /// No supported authentication mechanism is offered.
    #[error("the mail server does not offer AUTH PLAIN or LOGIN")]
    NoAuth,
    /// Credentials refused.
    #[error("the mail server refused the credentials ({0})")]
    Credentials(Reply),
    /// Another step refused.
    #[error("the mail server refused at {0} ({1})")]
    Refused(Step, Reply),
    /// Time limit exceeded.
    #[error("the mail server did not reply in time ({0})")]
    Timeout(Step),
    /// Connection lost, or malformed reply.
    #[error("the connection to the mail server broke ({0})")]
    Broken(Step),
}

impl SendError {
    /// Classifies the failure of one step.
    pub(super) fn in_step(step: Step, error: &SmtpError) -> Self {
        if let Some(code) = error.status() {
            let reply = Reply::new(code, error);
            return match step {
                Step::Auth => Self::Credentials(reply),
                _ => Self::Refused(step, reply),
            };
        }
        if error.is_timeout() {
            return Self::Timeout(step);
        }
        match step {
            Step::Auth if error.is_client() => Self::NoAuth,
            Step::StartTls => Self::Tls(cause(error)),
            // lettre wraps a TLS failure once more than a connection failure.
            Step::Connect => match error.source() {
                Some(source) if source.is::<SmtpError>() => Self::Tls(cause(error)),
                Some(source) if source.is::<io::Error>() && is_connection(error) => {
                    Self::Connect(io::Error::other(cause(error)))
                }
                _ => Self::Broken(Step::Greeting),
            },
            _ => Self::Broken(step),
        }
    }

    /// Returns whether a retry cannot succeed: the recipient or this message is refused for good. Refused
    /// credentials, senders, relaying and policies (RFC 3463 §3.8) concern the sender's configuration: a
    /// retry succeeds once that is repaired.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(Step::Recipient | Step::Message, reply) => {
                reply.is_permanent() && !reply.is_about_sender()
            }
            Self::Compose(_) => true,
            _ => false,
        }
    }

    /// Returns whether the recipient is refused for good, as for a mailbox that does not exist.
    #[must_use]
    pub fn is_bounce(&self) -> bool {
        matches!(self, Self::Refused(Step::Recipient, _)) && self.is_permanent()
    }
}

impl Reply {
    fn new(code: Code, error: &SmtpError) -> Self {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let first = text.split_whitespace().next().unwrap_or_default();
        let numbers = || first.split('.');
        let is_number = |part: &str| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_enhanced = numbers().count() == 3 && numbers().all(is_number);
        Self {
            code,
            enhanced: is_enhanced.then(|| first.to_owned()),
            is_about_relaying: text.to_ascii_lowercase().contains("relay"),
        }
    }

    fn is_permanent(&self) -> bool {
        self.code.severity == Severity::PermanentNegativeCompletion
    }

    /// Returns whether the sender's configuration is refused.
    fn is_about_sender(&self) -> bool {
        let enhanced = self.enhanced.as_deref().unwrap_or_default();
        let policy = enhanced.starts_with("5.7.") || matches!(enhanced, "5.1.7" | "5.1.8");
        let code = self.code.to_string();
        policy || self.is_about_relaying || matches!(code.as_str(), "530" | "535")
    }
}

/// Returns whether connecting failed, which lettre's errors show by their text alone.
fn is_connection(error: &SmtpError) -> bool {
    error.to_string().starts_with("Connection")
}

fn cause(error: &SmtpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
