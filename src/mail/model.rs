//! The letters, and what each is told.

use serde::Serialize;
use url::Url;

/// A letter. None quotes what a stranger typed, so that nobody can send advertisements through us.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Letter {
    /// Asks the owner of a new account's address to confirm it.
    VerifyEmail {
        /// Where the confirmation is given.
        link: Url,
        /// How long the link works, in hours.
        hours: u64,
    },
    /// Lets the owner of an account set a new password.
    ResetPassword {
        /// Where the new password is set.
        link: Url,
        /// How long the link works, in minutes.
        minutes: u64,
    },
    /// Lets the owner of an account try again after too many wrong passwords.
    Unlock {
        /// Where that is asked for.
        link: Url,
        /// How long the link works, in minutes.
        minutes: u64,
    },
    /// Tells the owner of an account that its password is another now.
    PasswordChanged {},
    /// Asks the owner of an address to confirm it as the new one of an account.
    ConfirmNewEmail {
        /// Where the confirmation is given.
        link: Url,
        /// How long the link works, in hours.
        hours: u64,
    },
    /// Tells the owner of an account that a new address waits to be confirmed.
    EmailChanging {},
    /// Tells the owner of an old address that the account has left it, and how to undo that.
    EmailChanged {
        /// Where the change is undone.
        link: Url,
        /// How long the link works, in hours.
        hours: i64,
    },
    /// Tells an administrator that somebody has become one.
    NewAdmin {
        /// The address of the new administrator.
        email: String,
    },
    /// Tells the owner of an account that it has a new API key.
    ApiKeyCreated {
        /// The end of the key.
        hint: String,
    },
    /// Tells the owner of an account that an API key has another secret.
    ApiKeyRotated {
        /// The new end of the key.
        hint: String,
    },
    /// Tells the owner of an account that it has a second factor now.
    SecondFactorOn {},
    /// Tells the owner of an account that it has none any more.
    SecondFactorOff {},
    /// Tells the owner of an account that an operator took its second factor away.
    SecondFactorRemoved {},
    /// Tells the owner of an account that a recovery code was used.
    RecoveryCodeUsed {},
    /// Tells the owner of an account that somebody with the password gives wrong codes.
    SecondFactorFailures {},
    /// Tells the owner of an account that somebody signed up with its address again.
    AlreadyRegistered {
        /// The address in question.
        email: String,
    },
}

impl Letter {
    /// The subject line; `product` is the product's name.
    #[must_use]
    pub fn subject(&self, product: &str) -> String {
        match self {
            Self::VerifyEmail { .. } => format!("Confirm your address for {product}"),
            Self::ResetPassword { .. } => format!("Set a new password for {product}"),
            Self::Unlock { .. } => {
                format!("Somebody tried to sign in to your account at {product}")
            }
            Self::PasswordChanged {} => format!("Your password for {product} was changed"),
            Self::ConfirmNewEmail { .. } => format!("Confirm your new address for {product}"),
            Self::EmailChanging {} => format!("Your address for {product} is about to change"),
            Self::EmailChanged { .. } => format!("Your address for {product} was changed"),
            Self::NewAdmin { .. } => format!("{product} has a new administrator"),
            Self::ApiKeyCreated { .. } => format!("Your account at {product} has a new API key"),
            Self::ApiKeyRotated { .. } => format!("An API key for {product} has a new secret"),
            Self::SecondFactorOn {} => format!("Your account at {product} has a second factor"),
            Self::SecondFactorOff {} => format!("The second factor for {product} was turned off"),
            Self::SecondFactorRemoved {} => {
                format!("We removed the second factor for {product}")
            }
            Self::RecoveryCodeUsed {} => format!("A recovery code for {product} was used"),
            Self::SecondFactorFailures {} => format!("Somebody knows your password for {product}"),
            Self::AlreadyRegistered { .. } => format!("You already have an account at {product}"),
        }
    }

    /// The name that its two templates share.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::ResetPassword { .. } => "reset_password",
            Self::Unlock { .. } => "unlock",
            Self::PasswordChanged {} => "password_changed",
            Self::ConfirmNewEmail { .. } => "confirm_new_email",
            Self::EmailChanging {} => "email_changing",
            Self::EmailChanged { .. } => "email_changed",
            Self::NewAdmin { .. } => "new_admin",
            Self::ApiKeyCreated { .. } => "api_key_created",
            Self::ApiKeyRotated { .. } => "api_key_rotated",
            Self::SecondFactorOn {} => "second_factor_on",
            Self::SecondFactorOff {} => "second_factor_off",
            Self::SecondFactorRemoved {} => "second_factor_removed",
            Self::RecoveryCodeUsed {} => "recovery_code_used",
            Self::SecondFactorFailures {} => "second_factor_failures",
            Self::AlreadyRegistered { .. } => "already_registered",
        }
    }
}
