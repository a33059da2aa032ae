//! The emails that we send.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ids::FileId;

/// End of the addresses that no email is sent to.
pub(super) const SYNTHETIC_DOMAIN: &str = "@synthetic.invalid";

/// Category of an email, which decides about suppressed addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    /// About signing in, credentials and requests about personal data. Always sent: an owner whose mailbox works again must not be locked out, and
    /// nobody can turn off what reports an intruder.
    Security,
    /// About what happens in an account. Not sent to an address that has bounced.
    Service,
    /// Sent to those who asked for it, and to no suppressed address.
    Optional,
}

/// Why an address is suppressed. Names are stored and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SuppressionReason {
    /// The mailbox does not exist, or does not accept emails for good.
    Bounce,
    /// The recipient reported an email as spam.
    Complaint,
    /// By the decision of a person.
    Manual,
}

impl SuppressionReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
            Self::Manual => "manual",
        }
    }

    /// Returns whether emails of a category are not sent.
    pub(super) const fn stops(self, category: Category) -> bool {
        match category {
            Category::Security => false,
            Category::Service => matches!(self, Self::Bounce),
            Category::Optional => true,
        }
    }
}

/// Entry of the suppression list.
#[derive(Clone, Copy, Debug)]
pub struct Suppression {
    pub reason: SuppressionReason,
    pub created_at: DateTime<Utc>,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $category:ident $name:ident $template:literal $subject:literal { $($field:ident: $type:ty),* })+) => {
        /// An email. None quotes what a stranger typed, so that nobody can send advertisements through us.
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        pub enum EmailMessage {
            $($(#[$doc])* $name { $($field: $type),* },)+
        }

        impl EmailMessage {
            #[must_use]
            pub fn subject(&self, product: &str) -> String {
                match self {
                    $(Self::$name { .. } => format!($subject, product),)+
                }
            }

            pub(super) const fn category(&self) -> Category {
                match self {
                    $(Self::$name { .. } => Category::$category,)+
                }
            }

            /// Name that its two templates share.
            pub(super) fn template(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $template,)+
                }
            }
        }

        /// Sources of all templates, by name.
        pub(super) const TEMPLATES: &[(&str, &str)] = &[
            ("layout.html", include_str!("templates/layout.html")),
            ("footer.txt", include_str!("templates/footer.txt")),
            $(
                (concat!($template, ".html"), include_str!(concat!("templates/", $template, ".html"))),
                (concat!($template, ".txt"), include_str!(concat!("templates/", $template, ".txt"))),
            )+
        ];
    };
}

// Category, name, template, subject with the product's name, and what the template uses as `message`.
messages! {
    Security VerifyEmail "verify_email" "Confirm your address for {}" { link: Url, hours: u64 }
    Security ResetPassword "reset_password" "Set a new password for {}" { link: Url, minutes: u64 }
    /// To the owner of a locked account.
    Security Unlock "unlock" "Somebody tried to sign in to your account at {}" { link: Url, minutes: u64 }
    Security PasswordChanged "password_changed" "Your password for {} was changed" {}
    Security ConfirmNewEmail "confirm_new_email" "Confirm your new address for {}" { link: Url, hours: u64 }
    /// To the current address, while the new one waits to be confirmed.
    Security EmailChanging "email_changing" "Your address for {} is about to change" {}
    /// To the old address, with the link that undoes the change.
    Security EmailChanged "email_changed" "Your address for {} was changed" { link: Url, hours: i64 }
    /// To every administrator, with the address of the new one.
    Security NewAdmin "new_admin" "{} has a new administrator" { email: String }
    Security ApiKeyCreated "api_key_created" "Your account at {} has a new API key" { hint: String }
    Security ApiKeyRotated "api_key_rotated" "An API key for {} has a new secret" { hint: String }
    Security SecondFactorOn "second_factor_on" "Your account at {} has a second factor" {}
    Security SecondFactorOff "second_factor_off" "The second factor for {} was turned off" {}
    /// Removed by a CLI command.
    Security SecondFactorRemoved "second_factor_removed" "We removed the second factor for {}" {}
    Security RecoveryCodeUsed "recovery_code_used" "A recovery code for {} was used" {}
    /// Wrong codes after a right password.
    Security SecondFactorFailures "second_factor_failures" "Somebody knows your password for {}" {}
    /// With the address of the member who invites. Names no more than that and the organisation.
    Service Invitation "invitation" "You are invited to an organisation at {}"
        { organisation: String, inviter: Option<String>, link: Url, days: u64 }
    /// To a member. `about` is the address of the member whom the event is about, `purged_on` the day on which a
    /// deleted organisation is purged, and `keys` are the ends of the API keys that a former member created.
    Service OrganisationNotice "organisation_notice" "Your organisation at {} has changed"
        { organisation: String, event: &'static str, about: String, purged_on: Option<String>, keys: Vec<String> }
    /// To members who manage billing. `link` is the invoice at Stripe.
    Service BillingNotice "billing_notice" "Billing at {}"
        { fact: &'static str, plan: Option<&'static str>, number: Option<String>, amount: Option<String>,
          link: Option<String>, trial_ends_on: Option<String> }
    /// To those who manage secrets. `by` is the address of the user to whom it was shown.
    Security SecretRevealed "secret_revealed" "A secret was shown at {}"
        { name: String, organisation: Option<String>, by: Option<String> }
    /// To the user who uploaded a file and the owners of the organisation. `by` is the address of that user.
    Service FileInfected "file_infected" "A file at {} is infected"
        { file: FileId, signature: String, organisation: Option<String>, by: Option<String> }
    /// To a person who asked for an export of their data.
    Security DataExport "data_export" "The export of your data at {}" { is_ready: bool, expires_on: String }
    /// To the owner of an account that is going to be deleted, or that was.
    Security AccountDeletion "account_deletion" "The deletion of your account at {}"
        { event: &'static str, erased_on: String }
    /// Sign-up with the address of an account.
    Security AlreadyRegistered "already_registered" "You already have an account at {}" { email: String }
    /// To a user who asked for it, about a month.
    Optional UsageSummary "usage_summary" "Your monthly usage of {}" { month: String, accounts: Vec<AccountUsage> }
}

/// Usage of one account in an email. Numbers are as they are shown.
#[derive(Clone, Debug, Serialize)]
pub struct AccountUsage {
    /// Name of the organisation; absent for the personal account.
    pub organisation: Option<String>,
    pub plan: &'static str,
    pub requests: String,
    /// Requests that the plan includes in a month.
    pub request_quota: Option<String>,
    pub events: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounce_stops_all_but_security_and_the_others_stop_what_is_optional() {
        use SuppressionReason::{Bounce, Complaint, Manual};
        for (reason, service) in [(Bounce, true), (Complaint, false), (Manual, false)] {
            assert!(!reason.stops(Category::Security));
            assert_eq!(reason.stops(Category::Service), service, "{reason:?}");
            assert!(reason.stops(Category::Optional));
        }
    }
}
