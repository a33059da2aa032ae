//! Documents that users accept, and the contact for requests about personal data.

use std::time::Duration;

use email_transport::EmailAddress;
use http_toolkit::one_line;
use serde::{Deserialize, Serialize};
use settings::{Setting, WebUrl};
use url::Url;
use utoipa::ToSchema;

settings::settings! {
    /// Documents that users accept, and the contact for requests about personal data.
    pub struct PrivacyConfig {}
    "Privacy", PrivacySettings {
        /// Version of the terms in force, such as their date. With it, a sign-up must accept this version, and a user who has
        /// not accepted it is asked at the next sign-in.
        TERMS_VERSION => terms_version: Option<DocumentVersion>;
        /// Page with the terms.
        TERMS_URL => terms_url: Option<WebUrl>;
        /// Version of the privacy notice in force; it is asked for like the terms.
        PRIVACY_NOTICE_VERSION => notice_version: Option<DocumentVersion>;
        /// Page with the privacy notice.
        PRIVACY_NOTICE_URL => notice_url: Option<WebUrl>;
        /// Email address for requests about personal data, which clients can show.
        PRIVACY_CONTACT => contact: Option<EmailAddress>;
        /// How long an export of a person's data can be downloaded.
        EXPORT_RETENTION => export_retention: Duration = "7d", within("1d"..="30d");
        /// How long the register keeps requests that are closed, to prove that they were answered.
        DATA_REQUEST_RETENTION => request_retention: Duration = "1095d", within("365d"..="3650d");
    }
}

/// Version of a document: 1 to 40 characters of A-Z, a-z, 0-9, dot, hyphen and underscore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 40, pattern = "^[A-Za-z0-9._-]+$", example = "2026-11-01")]
pub struct DocumentVersion(String);

impl DocumentVersion {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DocumentVersion {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        one_line(&raw, 40)
            .filter(|text| text.chars().all(is_part))
            .map(Self)
            .ok_or("must be 1 to 40 characters of A-Z, a-z, 0-9, dot, hyphen and underscore")
    }
}

impl Setting for DocumentVersion {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned()).map_err(str::to_owned)
    }
}

/// A document that users accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Document {
    /// Terms of service.
    Terms,
    /// Privacy notice.
    PrivacyNotice,
}

impl Document {
    pub const ALL: [Self; 2] = [Self::Terms, Self::PrivacyNotice];

    /// Name in the database, and the field of requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::PrivacyNotice => "privacy_notice",
        }
    }
}

impl PrivacyConfig {
    /// Documents in force.
    pub fn documents(&self) -> impl Iterator<Item = (Document, &DocumentVersion, &Url)> {
        let all = [
            (Document::Terms, &self.terms_version, &self.terms_url),
            (
                Document::PrivacyNotice,
                &self.notice_version,
                &self.notice_url,
            ),
        ];
        all.into_iter().filter_map(|(document, version, url)| {
            Some((document, version.as_ref()?, url.as_ref()?))
        })
    }
}

impl PrivacySettings {
    /// True if a document has a version without a page, or a page without a version.
    pub(super) fn has_half_a_document(&self) -> bool {
        let is_set = |it: Option<bool>| it.unwrap_or_default();
        let half = |version: &Option<Option<DocumentVersion>>, url: &Option<Option<Url>>| {
            is_set(version.as_ref().map(Option::is_some))
                != is_set(url.as_ref().map(Option::is_some))
        };
        half(&self.terms_version, &self.terms_url) || half(&self.notice_version, &self.notice_url)
    }
}
