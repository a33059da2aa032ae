//! Routes of organisations, their members and invitations, with what they require.

use super::groups::Groups;
use crate::organisations;
use crate::policy::{KeyUse, public, signed_in, unlimited};
use crate::roles::Permission;

const INVITATIONS: &str = "/api/v1/invitations";
const ORGANISATIONS: &str = "/api/v1/organisations";

/// Groups of organisations, in which `{id}` of the path is the account acted for.
pub(super) fn add(groups: Groups) -> Groups {
    use Permission as P;
    let in_path = |read, write| {
        let policy = signed_in().exempt_from_quota();
        policy.account_in_path().permission(read, write)
    };
    groups
        .group(
            ORGANISATIONS,
            signed_in().exempt_from_quota(),
            organisations::routes(),
        )
        .group(
            ORGANISATIONS,
            signed_in()
                .idempotency_keys(KeyUse::Optional)
                .exempt_from_quota(),
            organisations::creation_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::OrganisationRead, P::OrganisationWrite),
            organisations::organisation_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::OrganisationRead, P::OrganisationRead),
            organisations::membership_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::OrganisationOwn, P::OrganisationOwn),
            organisations::deletion_routes().merge(organisations::transfer_routes()),
        )
        .group(
            ORGANISATIONS,
            in_path(P::MembersRead, P::MembersWrite),
            organisations::member_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::InvitationsRead, P::InvitationsWrite),
            organisations::invitation_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::InvitationsRead, P::InvitationsWrite).idempotency_keys(KeyUse::Optional),
            organisations::invite_routes(),
        )
        .group(
            INVITATIONS,
            signed_in().exempt_from_quota(),
            organisations::own_routes(),
        )
        .group(
            INVITATIONS,
            public().limit(|of| of.auth),
            organisations::public_routes(),
        )
        .group(
            ORGANISATIONS,
            in_path(P::AuditRead, P::AuditRead).reads_replica(),
            organisations::audit_routes(),
        )
        .group("", unlimited(), organisations::page_routes())
}
