//! Terms of the inventory.

use std::fmt;

/// Kind of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing about a person.
    Technical,
    /// Names a person, or an account of one.
    Identifies,
    /// About a person whom the row identifies.
    Describes,
    /// Personal data of others than the person whom the row belongs to.
    OfOthers,
    /// Credential, hash of one, or part of one.
    Secret,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Technical => "technical",
            Self::Identifies => "identifies",
            Self::Describes => "describes",
            Self::OfOthers => "of others",
            Self::Secret => "secret",
        })
    }
}

/// Processing activity (Art. 30 GDPR), which decides the legal basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Account,
    Security,
    Billing,
    Content,
    Metering,
    Operation,
}

impl Purpose {
    pub(super) const ALL: [Self; 6] = [
        Self::Account,
        Self::Security,
        Self::Billing,
        Self::Content,
        Self::Metering,
        Self::Operation,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Account => "Accounts and organisations",
            Self::Security => "Security",
            Self::Billing => "Billing",
            Self::Content => "Content of customers",
            Self::Metering => "Usage",
            Self::Operation => "Operation",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Account => "Sign-up, sign-in, profile, organisations and the emails about them.",
            Self::Security => {
                "Sessions, second factors and links by email; detection of attacks; a record of who changed what."
            }
            Self::Billing => {
                "Subscriptions, payments, invoices, and the books that the law requires."
            }
            Self::Content => "What customers entrust to the product: events, secrets and files.",
            Self::Metering => "Counts of API requests and events, for limits, reports and bills.",
            Self::Operation => "Background jobs, repeated requests and caches.",
        }
    }

    pub(super) const fn legal_basis(self) -> &'static str {
        match self {
            Self::Account | Self::Metering | Self::Operation => "Contract (Art. 6(1)(b) GDPR)",
            Self::Security => {
                "Legitimate interest in the security of the service (Art. 6(1)(f), Art. 32 GDPR)"
            }
            Self::Billing => {
                "Contract (Art. 6(1)(b)); the books: legal obligation (Art. 6(1)(c) GDPR)"
            }
            Self::Content => "On behalf of the customer, who is the controller (Art. 28 GDPR)",
        }
    }

    pub(super) const fn recipients(self) -> &'static str {
        match self {
            Self::Account => "hosting, mail provider",
            Self::Security => {
                "hosting, mail provider; for breached passwords 5 digits of a hash, without an address"
            }
            Self::Billing => "hosting, mail provider, Stripe, tax authorities",
            Self::Content => "hosting, object store",
            Self::Metering => "hosting; Stripe, where usage is billed",
            Self::Operation => "hosting, error reports (without addresses, bodies and headers)",
        }
    }
}

/// How long values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// As long as the user or account that they belong to.
    Owner,
    /// The time of a setting, after `from`.
    Setting {
        name: &'static str,
        from: &'static str,
    },
    Fixed {
        time: &'static str,
        from: &'static str,
    },
    /// With the reason.
    Unlimited(&'static str),
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("as long as the account"),
            Self::Setting { name, from } => write!(f, "`{name}` after {from}"),
            Self::Fixed { time, from } => write!(f, "{time} after {from}"),
            Self::Unlimited(reason) => write!(f, "without limit: {reason}"),
        }
    }
}

/// Part in the export of a person's data (Art. 15, 20 GDPR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    Included,
    /// With the reason.
    LeftOut(&'static str),
}

/// Effect of the erasure of a person's data (Art. 17 GDPR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    Deleted,
    Blanked,
    /// With the reason, and until when.
    Kept(&'static str),
}

/// Columns that say whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Id of the user.
    User(&'static str),
    /// Id of the account, personal or organisation.
    Account(&'static str),
    /// Address of a person who may have no account.
    Address(&'static str),
    /// Id of the customer at Stripe.
    Customer(&'static str),
    /// Id of a row of another table.
    Row(&'static str, &'static str),
}

/// Table, payload of a job, or family of Redis keys.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    pub name: &'static str,
    pub purpose: Purpose,
    /// Empty: nobody's.
    pub owners: &'static [Owner],
    pub retention: Retention,
    pub export: Export,
    pub erasure: Erasure,
    pub columns: &'static [Column],
}

/// One line of the inventory.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    own_export: Option<Export>,
    own_erasure: Option<Erasure>,
}

pub(super) const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        own_export: None,
        own_erasure: None,
    }
}

impl Column {
    pub(super) const fn left_out(self, reason: &'static str) -> Self {
        Self {
            own_export: Some(Export::LeftOut(reason)),
            ..self
        }
    }

    pub(super) const fn kept(self, reason: &'static str) -> Self {
        Self {
            own_erasure: Some(Erasure::Kept(reason)),
            ..self
        }
    }

    pub(super) const fn blanked(self) -> Self {
        Self {
            own_erasure: Some(Erasure::Blanked),
            ..self
        }
    }
}

impl Store {
    pub(super) const fn is_personal(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Part of a column in the export. Secrets are never in it.
    #[must_use]
    pub fn export_of(&self, column: &Column) -> Export {
        match column.own_export {
            Some(own) => own,
            None if column.kind == Kind::Secret => Export::LeftOut("a credential"),
            None => self.export,
        }
    }

    /// What the erasure does to a column.
    #[must_use]
    pub fn erasure_of(&self, column: &Column) -> Erasure {
        column.own_erasure.unwrap_or(self.erasure)
    }
}
