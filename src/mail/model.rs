//! The emails that we send.

use serde::Serialize;
use url::Url;

use crate::ids::FileId;

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident $template:literal $subject:literal { $($field:ident: $type:ty),* })+) => {
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
            $(
                (concat!($template, ".html"), include_str!(concat!("templates/", $template, ".html"))),
                (concat!($template, ".txt"), include_str!(concat!("templates/", $template, ".txt"))),
            )+
        ];
    };
}

// Name, template, subject with the product's name, and what the template uses as `message`.
messages! {
    VerifyEmail "verify_email" "Confirm your address for {}" { link: Url, hours: u64 }
    ResetPassword "reset_password" "Set a new password for {}" { link: Url, minutes: u64 }
    /// To the owner of a locked account.
    Unlock "unlock" "Somebody tried to sign in to your account at {}" { link: Url, minutes: u64 }
    PasswordChanged "password_changed" "Your password for {} was changed" {}
    ConfirmNewEmail "confirm_new_email" "Confirm your new address for {}" { link: Url, hours: u64 }
    /// To the current address, while the new one waits to be confirmed.
    EmailChanging "email_changing" "Your address for {} is about to change" {}
    /// To the old address, with the link that undoes the change.
    EmailChanged "email_changed" "Your address for {} was changed" { link: Url, hours: i64 }
    /// To every administrator, with the address of the new one.
    NewAdmin "new_admin" "{} has a new administrator" { email: String }
    ApiKeyCreated "api_key_created" "Your account at {} has a new API key" { hint: String }
    ApiKeyRotated "api_key_rotated" "An API key for {} has a new secret" { hint: String }
    SecondFactorOn "second_factor_on" "Your account at {} has a second factor" {}
    SecondFactorOff "second_factor_off" "The second factor for {} was turned off" {}
    /// Removed by a CLI command.
    SecondFactorRemoved "second_factor_removed" "We removed the second factor for {}" {}
    RecoveryCodeUsed "recovery_code_used" "A recovery code for {} was used" {}
    /// Wrong codes after a right password.
    SecondFactorFailures "second_factor_failures" "Somebody knows your password for {}" {}
    /// With the address of the member who invites. Names no more than that and the organisation.
    Invitation "invitation" "You are invited to an organisation at {}"
        { organisation: String, inviter: Option<String>, link: Url, days: u64 }
    /// To a member. `about` is the address of the member whom the event is about, `purged_on` the day on which a
    /// deleted organisation is purged, and `keys` are the ends of the API keys that a former member created.
    OrganisationNotice "organisation_notice" "Your organisation at {} has changed"
        { organisation: String, event: &'static str, about: String, purged_on: Option<String>, keys: Vec<String> }
    /// To members who manage billing. `link` is the invoice at Stripe.
    BillingNotice "billing_notice" "Billing at {}"
        { fact: &'static str, plan: Option<&'static str>, number: Option<String>, amount: Option<String>,
          link: Option<String>, trial_ends_on: Option<String> }
    /// To those who manage secrets. `by` is the address of the user to whom it was shown.
    SecretRevealed "secret_revealed" "A secret was shown at {}"
        { name: String, organisation: Option<String>, by: Option<String> }
    /// To the user who uploaded a file and the owners of the organisation. `by` is the address of that user.
    FileInfected "file_infected" "A file at {} is infected"
        { file: FileId, signature: String, organisation: Option<String>, by: Option<String> }
    /// To a person who asked for an export of their data.
    DataExport "data_export" "The export of your data at {}" { is_ready: bool, expires_on: String }
    /// To the owner of an account that is going to be deleted, or that was.
    AccountDeletion "account_deletion" "The deletion of your account at {}" { event: &'static str, erased_on: String }
    /// Sign-up with the address of an account.
    AlreadyRegistered "already_registered" "You already have an account at {}" { email: String }
}
