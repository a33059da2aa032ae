//! Metrics of sending.

use std::time::Instant;

use metrics::histogram;

use crate::SendError;

metric_families::families! {
    SMTP_DURATION "smtp_send_duration_seconds" Histogram Seconds ["outcome"]
        "Sending emails to the mail server."
}

pub(crate) fn observe_send(began: Instant, sent: &Result<(), SendError>) {
    let outcome = match sent {
        Ok(()) => "ok",
        Err(SendError::Timeout(_)) => "timeout",
        Err(
            SendError::Refused(..)
            | SendError::Credentials(_)
            | SendError::NoAuth
            | SendError::NoStartTls
            | SendError::Compose(_),
        ) => "refused",
        Err(_) => "unreachable",
    };
    histogram!(SMTP_DURATION, "outcome" => outcome).record(began.elapsed());
}
