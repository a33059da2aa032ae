//! Documents and optional consents of users, on the wire and as they are stored.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::config::{Document, DocumentVersion};

/// Declares the optional kinds: name in the database and in requests, and description.
macro_rules! optional_kinds {
    ($($(#[$doc:meta])* $kind:ident $field:ident $name:literal;)+) => {
        /// A kind of consent that is off until the user gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum OptionalKind { $($(#[$doc])* $kind,)+ }

        impl OptionalKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Name in the database, and the field of requests.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }

        /// Documents to accept, and optional kinds to turn on or off. Omitted fields stay unchanged.
        #[derive(Debug, Default, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct ConsentChanges {
            /// Version of the terms that is accepted, which must be the one in force.
            #[serde(default)]
            pub(super) terms: Option<DocumentVersion>,
            /// Version of the privacy notice that was shown, which must be the one in force.
            #[serde(default)]
            pub(super) privacy_notice: Option<DocumentVersion>,
            $($(#[$doc])*
            #[serde(default)]
            pub(super) $field: Option<bool>,)+
        }

        impl ConsentChanges {
            /// Choices of optional kinds.
            pub(super) fn choices(&self) -> Vec<(OptionalKind, bool)> {
                let all = [$((OptionalKind::$kind, self.$field)),+];
                all.into_iter().filter_map(|(kind, choice)| Some((kind, choice?))).collect()
            }
        }
    };
}

optional_kinds! {
    /// News about the product by email.
    ProductNews product_news "product_news";
    /// A summary of the month's usage by email.
    UsageSummary usage_summary "usage_summary";
}

impl ConsentChanges {
    pub(super) fn documents(&self) -> AcceptedDocuments<'_> {
        AcceptedDocuments {
            terms: self.terms.as_ref(),
            privacy_notice: self.privacy_notice.as_ref(),
        }
    }
}

/// Versions that a request accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptedDocuments<'a> {
    pub terms: Option<&'a DocumentVersion>,
    pub privacy_notice: Option<&'a DocumentVersion>,
}

impl<'a> AcceptedDocuments<'a> {
    pub(super) const fn get(&self, document: Document) -> Option<&'a DocumentVersion> {
        match document {
            Document::Terms => self.terms,
            Document::PrivacyNotice => self.privacy_notice,
        }
    }
}

/// Where a consent was given or withdrawn. Names are stored and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    SignUp,
    /// By the signed-in user.
    Settings,
    /// By a link in an email.
    Unsubscribe,
    /// By a CLI command.
    Command,
    /// By reporting an email as spam.
    Complaint,
}

impl Source {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Settings => "settings",
            Self::Unsubscribe => "unsubscribe",
            Self::Command => "command",
            Self::Complaint => "complaint",
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    pub kind: String,
    /// Of a document.
    pub version: Option<String>,
    pub is_given: bool,
    pub created_at: DateTime<Utc>,
}

/// A line to append.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewLine<'a> {
    pub(super) kind: &'static str,
    pub(super) version: Option<&'a str>,
    pub(super) is_given: bool,
}

/// A document in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct DocumentInForce {
    /// The document.
    pub(super) document: Document,
    /// Its version, to be sent when it is accepted.
    pub(super) version: DocumentVersion,
    /// The page with it.
    #[schema(value_type = String, format = Uri, example = "https://example.com/terms")]
    pub(super) url: Url,
}

/// Documents that a sign-up must accept, and the contact for requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Legal {
    /// Documents in force.
    pub(super) documents: Vec<DocumentInForce>,
    /// Email address for requests about personal data.
    pub(super) contact: Option<EmailAddress>,
}

/// A document in force, and the version that the user accepted last.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentStatus {
    /// The document.
    pub(super) document: Document,
    /// Version in force.
    pub(super) version: DocumentVersion,
    /// The page with it.
    #[schema(value_type = String, format = Uri, example = "https://example.com/terms")]
    pub(super) url: Url,
    /// Version that the user accepted last.
    #[schema(example = "2026-05-01")]
    pub(super) accepted_version: Option<String>,
    /// When the user accepted it.
    pub(super) accepted_at: Option<DateTime<Utc>>,
    /// True if the version in force is yet to be accepted.
    pub(super) is_due: bool,
}

/// An optional consent of the user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OptionalConsent {
    /// The kind.
    pub(super) kind: OptionalKind,
    /// True if it is on.
    pub(super) is_given: bool,
    /// When it was last turned on or off.
    pub(super) changed_at: Option<DateTime<Utc>>,
}

/// Documents and optional consents of the user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Consents {
    /// Documents in force.
    pub(super) documents: Vec<DocumentStatus>,
    /// Optional kinds, all of which are off at first.
    pub(super) optional: Vec<OptionalConsent>,
}
