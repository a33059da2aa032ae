//! Organisations and invitations.

use std::time::Duration;

settings::settings! {
    /// Organisations and invitations.
    pub struct OrganisationsConfig {}
    "Organisations", OrganisationSettings {
        /// Enables organisations. When disabled, their routes are 404, and requests with
        /// `X-Account` are refused.
        ORGANISATIONS => enabled: bool = true;
        /// How long an invitation can be accepted.
        INVITATION_TTL => invitation_ttl: Duration = "7d", within("1h"..="30d");
        /// How long expired invitations are listed.
        INVITATION_RETENTION => invitation_retention: Duration = "30d", within("1d"..="365d");
        /// Open invitations of an organisation.
        INVITATION_MAX_COUNT => max_invitations: u32 = 50, within(1..=1000);
        /// How long a deleted organisation can be restored.
        ORGANISATION_DELETION_GRACE => deletion_grace: Duration = "30d", within("1d"..="365d");
        /// How long a former slug leads to its organisation.
        ORGANISATION_SLUG_GRACE => slug_grace: Duration = "90d", within("1d"..="3650d");
    }
}
