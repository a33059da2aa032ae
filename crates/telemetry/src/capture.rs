//! Reporting of unexpected errors, and of messages that are no errors.

use std::error::Error;

use crate::reports;

/// Logs an unexpected error with its causes at `error` level, which reports it. Not for rejected
/// requests. The texts of the error must not hold secrets or addresses.
pub fn capture(error: &dyn Error, message: &'static str) {
    tracing::error!(error = chain(error), "{message}");
}

/// Logs a message and reports it, as a warning or as information. The text must not hold
/// secrets or addresses.
pub fn capture_message(message: &str, is_warning: bool) {
    if is_warning {
        tracing::warn!("{message}");
    } else {
        tracing::info!("{message}");
    }
    reports::report_message(message, is_warning);
}

/// An error and its causes in one line; a cause that its effect already quotes is left out.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: {0}")]
        struct Quoting(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start")]
        struct Outer(#[source] Quoting);

        let error = Outer(Quoting(io::Error::other("disk gone")));
        assert_eq!(chain(&error), "cannot start: cannot read: disk gone");
    }
}
