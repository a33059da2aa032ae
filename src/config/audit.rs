//! The settings of the audit log: how long entries, and the addresses in them, are kept.

use std::time::Duration;

use super::reader::Reader;
use super::setting::days;
use super::usage::Retention;

/// The audit log.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// `AUDIT_ADDRESS_RETENTION`: how long client addresses and user agents are kept.
    pub address_retention: Duration,
    /// `AUDIT_RETENTION`: how long entries are kept; `None` is for ever.
    pub retention: Option<Retention>,
}

impl Reader<'_> {
    pub(super) fn audit(&mut self) -> Option<AuditConfig> {
        let address_retention = self.duration("AUDIT_ADDRESS_RETENTION", days(90));
        // The database keeps addresses of the last 30 days and months of the last year, so that
        // an intruder who takes over the service cannot remove the traces.
        if address_retention.is_some_and(|kept| !(days(30)..=days(3_650)).contains(&kept)) {
            self.fault("AUDIT_ADDRESS_RETENTION", "must be 30d to 3650d");
        }
        let retention = self.optional::<Retention>("AUDIT_RETENTION");
        let is_short = |kept: &Retention| match *kept {
            Retention::Months(months) => months < 12,
            Retention::Days(days) => days < 366,
        };
        if retention.as_ref().is_some_and(is_short) {
            self.fault("AUDIT_RETENTION", "must be at least 12mo, or 366d");
        }
        Some(AuditConfig {
            address_retention: address_retention?,
            retention,
        })
    }
}
