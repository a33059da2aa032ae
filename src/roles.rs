//! Roles of the members of an account, and what each role permits.

use std::fmt;

use axum::http::Method;
use http_toolkit::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::web::Code;

/// Declares the permissions with their names. A scope of API keys is the permission of the same name.
macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident $name:literal),+ $(,)?) => {
        /// What a member may do in an account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Permission { $($(#[$doc])* $variant),+ }

        impl Permission {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

permissions! {
    OrganisationRead "organisation:read",
    OrganisationWrite "organisation:write",
    /// Delete, restore and transfer.
    OrganisationOwn "organisation:own",
    MembersRead "members:read",
    MembersWrite "members:write",
    InvitationsRead "invitations:read",
    InvitationsWrite "invitations:write",
    ApiKeysRead "api_keys:read",
    ApiKeysWrite "api_keys:write",
    AuditRead "audit:read",
    UsageRead "usage:read",
    UsageWrite "usage:write",
    EventsRead "events:read",
    EventsWrite "events:write",
    BillingRead "billing:read",
    BillingWrite "billing:write",
    PaymentsRead "payments:read",
    PaymentsWrite "payments:write",
    SecretsRead "secrets:read",
    SecretsWrite "secrets:write",
    FilesRead "files:read",
    FilesWrite "files:write",
    DashboardRead "dashboard:read",
    DashboardWrite "dashboard:write",
}

/// Role of a member. A new one also extends the checks `memberships_role_check` and `invitations_role_check`, in a
/// migration of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AccountRole {
    /// Everything, deletion and transfer included.
    Owner,
    /// Everything but deletion and transfer.
    Admin,
    /// Uses the product.
    Member,
    /// Plan, invoices and payments.
    Billing,
    /// Reads what a member reads.
    ReadOnly,
}

impl AccountRole {
    pub const ALL: [Self; 5] = [
        Self::Owner,
        Self::Admin,
        Self::Member,
        Self::Billing,
        Self::ReadOnly,
    ];

    /// The table of roles and permissions.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        use Permission as P;
        match self {
            Self::Owner => Permissions::ALL,
            Self::Admin => Permissions::ALL.without(P::OrganisationOwn),
            Self::Member => Self::ReadOnly.permissions().with(&[
                P::UsageWrite,
                P::EventsWrite,
                P::FilesWrite,
                P::DashboardWrite,
            ]),
            Self::Billing => Permissions::NONE.with(&[
                P::OrganisationRead,
                P::MembersRead,
                P::UsageRead,
                P::DashboardRead,
                P::BillingRead,
                P::BillingWrite,
                P::PaymentsRead,
                P::PaymentsWrite,
            ]),
            Self::ReadOnly => Permissions::NONE.with(&[
                P::OrganisationRead,
                P::MembersRead,
                P::UsageRead,
                P::EventsRead,
                P::FilesRead,
                P::DashboardRead,
            ]),
        }
    }
}

impl fmt::Display for AccountRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u64);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self::NONE.with(Permission::ALL);

    #[must_use]
    pub const fn with(self, permissions: &[Permission]) -> Self {
        let (mut bits, mut at) = (self.0, 0);
        while at < permissions.len() {
            bits |= 1 << permissions[at] as u64;
            at += 1;
        }
        Self(bits)
    }

    const fn without(self, permission: Permission) -> Self {
        Self(self.0 & !(1 << permission as u64))
    }

    #[must_use]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u64 != 0
    }

    /// Rejects a caller who does not have `permission`.
    pub fn require(self, permission: Permission) -> Result<(), PermissionDenied> {
        self.require_all(Permissions::NONE.with(&[permission]))
    }

    /// Rejects a caller who lacks one of `others`, so that nobody grants what they do not have.
    pub fn require_all(self, others: Self) -> Result<(), PermissionDenied> {
        let missing = |it: &&Permission| others.has(**it) && !self.has(**it);
        match Permission::ALL.iter().find(missing) {
            Some(permission) => Err(PermissionDenied(*permission)),
            None => Ok(()),
        }
    }
}

/// The permission that the caller lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permission {} is required", .0.as_str())]
pub struct PermissionDenied(pub Permission);

impl From<PermissionDenied> for Problem {
    fn from(denied: PermissionDenied) -> Self {
        Self::new(Code::PermissionDenied).detail(format!("It requires {}.", denied.0.as_str()))
    }
}

/// Permissions to read and to write, of which the method selects one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadWrite {
    pub read: Permission,
    pub write: Permission,
}

impl ReadWrite {
    #[must_use]
    pub fn of(self, method: &Method) -> Permission {
        if matches!(*method, Method::GET | Method::HEAD) {
            self.read
        } else {
            self.write
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn permissions_have_distinct_names_and_bits() {
        let names: HashSet<_> = Permission::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), Permission::ALL.len());
        assert!(names.len() <= 64);
        for permission in Permission::ALL {
            assert!(Permissions::ALL.has(*permission));
            assert!(!Permissions::ALL.without(*permission).has(*permission));
        }
    }

    #[test]
    fn nobody_grants_more_than_they_have() {
        use AccountRole::{Admin, Billing, Member, Owner, ReadOnly};
        for (actor, grantable) in [
            (Owner, &[Owner, Admin, Member, Billing, ReadOnly][..]),
            (Admin, &[Admin, Member, Billing, ReadOnly]),
            (Member, &[Member, ReadOnly]),
            (Billing, &[Billing]),
            (ReadOnly, &[ReadOnly]),
        ] {
            for role in AccountRole::ALL {
                let granted = actor.permissions().require_all(role.permissions());
                assert_eq!(granted.is_ok(), grantable.contains(&role), "{actor} {role}");
            }
        }
        let denied = Admin.permissions().require_all(Owner.permissions());
        assert_eq!(denied, Err(PermissionDenied(Permission::OrganisationOwn)));
    }
}
