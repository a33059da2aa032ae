//! Why an email could not be sent: the step that failed and its cause, without addresses.

use std::error::Error as _;
use std::fmt;
use std::io;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::response::{Code, Severity};

use crate::metrics::CallOutcome;

/// A step of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up the server's name.
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

/// A negative reply: its code (RFC 5321 §4.2) and the enhanced one (RFC 3463), if it has one. Its text
/// is left out, since it quotes addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    enhanced: Option<String>,
    /// True if the text speaks of relaying, as some servers do without an enhanced code.
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

/// Why an email could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The email cannot be written as RFC 5322 wants it.
    #[error("the email cannot be composed")]
    Compose(#[from] lettre::error::Error),
    /// The name in `SMTP_URL` has no address.
    #[error("the mail server's name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// No TCP connection.
    #[error("the mail server cannot be connected to: {0}")]
    Connect(io::Error),
    /// TLS failed: most often the certificate.
    #[error("TLS with the mail server failed: {0}")]
    Tls(String),
    /// `SMTP_URL` insists on TLS, and the server does not offer it.
    #[error("the mail server does not offer STARTTLS")]
    NoStartTls,
    /// There are credentials, and the server takes none, or none of the kind that we can send.
    #[error("the mail server does not offer AUTH PLAIN or LOGIN")]
    NoAuth,
    /// The server refused the credentials.
    #[error("the mail server refused the credentials ({0})")]
    Credentials(Reply),
    /// The server refused at another step.
    #[error("the mail server refused at {0} ({1})")]
    Refused(Step, Reply),
    /// The server did not reply in time.
    #[error("the mail server did not reply in time ({0})")]
    Timeout(Step),
    /// The connection broke, or the reply was none.
    #[error("the connection to the mail server broke ({0})")]
    Broken(Step),
}

impl SendError {
    /// The failure of one step.
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
            // The library wraps a failure of TLS once more than one of the connection.
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

    /// Returns whether sending again cannot help: the recipient or this email is refused for good. A refusal
    /// of the server, the credentials or the sender is about our own configuration, as are those of
    /// relaying and of policy (RFC 3463 §3.8): the email waits until that is repaired.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(Step::Recipient | Step::Message, reply) => {
                reply.is_permanent() && !reply.is_about_us()
            }
            Self::Compose(_) => true,
            _ => false,
        }
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

    /// Returns whether it refuses the sender, or asks for credentials.
    fn is_about_us(&self) -> bool {
        let enhanced = self.enhanced.as_deref().unwrap_or_default();
        let policy = enhanced.starts_with("5.7.") || matches!(enhanced, "5.1.7" | "5.1.8");
        let code = self.code.to_string();
        policy || self.is_about_relaying || matches!(code.as_str(), "530" | "535")
    }
}

/// Returns whether the connection could not be opened, rather than broke later. The library says so by its text
/// alone.
fn is_connection(error: &SmtpError) -> bool {
    error.to_string().starts_with("Connection")
}

/// The innermost cause.
fn cause(error: &SmtpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

pub(super) fn outcome(error: Option<&SendError>) -> CallOutcome {
    match error {
        None => CallOutcome::Ok,
        Some(SendError::Timeout(_)) => CallOutcome::Timeout,
        Some(
            SendError::Refused(..)
            | SendError::Credentials(_)
            | SendError::NoAuth
            | SendError::NoStartTls
            | SendError::Compose(_),
        ) => CallOutcome::Refused,
        Some(_) => CallOutcome::Unreachable,
    }
}
