//! Notes on a release for the people who watch the service: to Sentry, and to Alertmanager.

use http_probe::{NoReply, Probe};
use serde_json::json;

use crate::cli::{ReleaseNote, ReleaseOutcome};

const ALERTS: &str = "/api/v2/alerts";

/// Alertmanager did not take the note.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    #[error(transparent)]
    NoReply(#[from] NoReply),
    #[error("Alertmanager replied with {0}")]
    Refused(u16),
}

/// Reports the note to Sentry if a DSN is set, and to Alertmanager if its address is given. The alert has no end, so that
/// Alertmanager resolves it after its `resolve_timeout`.
pub(super) async fn send(release: &ReleaseNote) -> Result<(), NoteError> {
    let is_failure = release.outcome.is_failure();
    telemetry::capture_message(&sentence(release), is_failure);
    let Some(alertmanager) = release.alertmanager.clone() else {
        return Ok(());
    };
    let severity = if is_failure { "critical" } else { "info" };
    let alerts = json!([{
        "labels": {
            "alertname": if is_failure { "ReleaseFailed" } else { "ReleaseNoted" },
            "severity": severity,
            "release": release.release,
            "outcome": release.outcome.as_str(),
        },
        "annotations": { "summary": sentence(release), "runbook": "docs/releases.md" },
    }]);
    let reply = Probe::new(alertmanager)?
        .post(ALERTS, Some(&alerts), None)
        .await?;
    match reply.status {
        200..=299 => Ok(()),
        status => Err(NoteError::Refused(status)),
    }
}

/// Such as `Release 1.5.0 rolled back to 1.4.2: 2.1 % of replies are 5xx`.
pub(super) fn sentence(note: &ReleaseNote) -> String {
    let verb = match note.outcome {
        ReleaseOutcome::Completed => "completed after",
        ReleaseOutcome::Refused => "refused beside",
        ReleaseOutcome::RolledBack => "rolled back to",
    };
    let before = note.before.as_deref().unwrap_or("none");
    let reason = note.reason.as_deref().map(|reason| format!(": {reason}"));
    format!(
        "Release {} {verb} {before}{}",
        note.release,
        reason.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_both_releases_and_the_reason() {
        let mut note = ReleaseNote {
            outcome: ReleaseOutcome::RolledBack,
            release: "1.5.0".to_owned(),
            before: Some("1.4.2".to_owned()),
            reason: Some("2.1 % of replies are 5xx".to_owned()),
            alertmanager: None,
        };
        assert_eq!(
            sentence(&note),
            "Release 1.5.0 rolled back to 1.4.2: 2.1 % of replies are 5xx"
        );
        note.reason = None;
        note.outcome = ReleaseOutcome::Completed;
        assert_eq!(sentence(&note), "Release 1.5.0 completed after 1.4.2");
    }
}
