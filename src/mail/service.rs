//! Renders letters and hands them to the mail server.

use std::sync::LazyLock;

use lettre::message::Mailbox;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};

use super::model::Letter;
use crate::config::MailConfig;
use crate::infra::{Mailer, SendError};

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in [
        ("layout.html", include_str!("templates/layout.html")),
        (
            "verify_email.html",
            include_str!("templates/verify_email.html"),
        ),
        (
            "verify_email.txt",
            include_str!("templates/verify_email.txt"),
        ),
        (
            "reset_password.html",
            include_str!("templates/reset_password.html"),
        ),
        (
            "reset_password.txt",
            include_str!("templates/reset_password.txt"),
        ),
        ("unlock.html", include_str!("templates/unlock.html")),
        ("unlock.txt", include_str!("templates/unlock.txt")),
        (
            "password_changed.html",
            include_str!("templates/password_changed.html"),
        ),
        (
            "password_changed.txt",
            include_str!("templates/password_changed.txt"),
        ),
        (
            "confirm_new_email.html",
            include_str!("templates/confirm_new_email.html"),
        ),
        (
            "confirm_new_email.txt",
            include_str!("templates/confirm_new_email.txt"),
        ),
        (
            "email_changing.html",
            include_str!("templates/email_changing.html"),
        ),
        (
            "email_changing.txt",
            include_str!("templates/email_changing.txt"),
        ),
        (
            "email_changed.html",
            include_str!("templates/email_changed.html"),
        ),
        (
            "email_changed.txt",
            include_str!("templates/email_changed.txt"),
        ),
        ("new_admin.html", include_str!("templates/new_admin.html")),
        ("new_admin.txt", include_str!("templates/new_admin.txt")),
        (
            "api_key_created.html",
            include_str!("templates/api_key_created.html"),
        ),
        (
            "api_key_created.txt",
            include_str!("templates/api_key_created.txt"),
        ),
        (
            "api_key_rotated.html",
            include_str!("templates/api_key_rotated.html"),
        ),
        (
            "api_key_rotated.txt",
            include_str!("templates/api_key_rotated.txt"),
        ),
        (
            "second_factor_on.html",
            include_str!("templates/second_factor_on.html"),
        ),
        (
            "second_factor_on.txt",
            include_str!("templates/second_factor_on.txt"),
        ),
        (
            "second_factor_off.html",
            include_str!("templates/second_factor_off.html"),
        ),
        (
            "second_factor_off.txt",
            include_str!("templates/second_factor_off.txt"),
        ),
        (
            "second_factor_removed.html",
            include_str!("templates/second_factor_removed.html"),
        ),
        (
            "second_factor_removed.txt",
            include_str!("templates/second_factor_removed.txt"),
        ),
        (
            "recovery_code_used.html",
            include_str!("templates/recovery_code_used.html"),
        ),
        (
            "recovery_code_used.txt",
            include_str!("templates/recovery_code_used.txt"),
        ),
        (
            "second_factor_failures.html",
            include_str!("templates/second_factor_failures.html"),
        ),
        (
            "second_factor_failures.txt",
            include_str!("templates/second_factor_failures.txt"),
        ),
        (
            "already_registered.html",
            include_str!("templates/already_registered.html"),
        ),
        (
            "already_registered.txt",
            include_str!("templates/already_registered.txt"),
        ),
    ] {
        templates
            .add_template(name, source)
            .expect("the shipped templates are well-formed");
    }
    templates
});

/// Why a letter did not go out; the queue tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template and what it is told do not fit.
    #[error("the letter cannot be rendered")]
    Render(#[from] minijinja::Error),
    /// The recipient is no address that a letter can be sent to.
    #[error("the recipient's address cannot be written to")]
    Address(#[from] lettre::address::AddressError),
    /// The mail server could not be reached, or refused.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Error {
    /// Returns whether sending again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Send(error) => error.is_permanent(),
            Self::Address(_) => true,
            Self::Render(_) => false,
        }
    }
}

/// Sends one letter to one address.
pub async fn send(
    mailer: &Mailer,
    config: &MailConfig,
    to: &str,
    letter: &Letter,
) -> Result<(), Error> {
    let (text, html) = render(letter, &config.product_name)?;
    let to = Mailbox::new(None, to.parse()?);
    mailer
        .send(to, &letter.subject(&config.product_name), text, html)
        .await?;
    Ok(())
}

/// The plain text and the HTML of a letter.
fn render(letter: &Letter, product: &str) -> Result<(String, String), minijinja::Error> {
    let subject = letter.subject(product);
    let context = context! { letter => Serde(letter), product, subject };
    let name = letter.template();
    let text = TEMPLATES
        .get_template(&format!("{name}.txt"))?
        .render(&context)?;
    let html = TEMPLATES
        .get_template(&format!("{name}.html"))?
        .render(&context)?;
    Ok((text, html))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let letter = Letter::AlreadyRegistered {
            email: "a&b@example.com".to_owned(),
        };
        let (text, html) = render(&letter, "Smith & Sons <Ltd>").expect("it renders");
        assert!(
            text.contains("a&b@example.com") && text.contains("Smith & Sons <Ltd>"),
            "{text}"
        );
        assert!(
            html.contains("a&amp;b@example.com") && html.contains("Smith &amp; Sons &lt;Ltd&gt;"),
            "{html}"
        );
        assert!(!html.contains("<Ltd>"));
    }

    #[test]
    fn a_link_is_whole_in_both_parts() {
        let link = "https://example.com/verify-email#token=abc_-"
            .parse()
            .expect("it is a URL");
        let letter = Letter::VerifyEmail { link, hours: 24 };
        let (text, html) = render(&letter, "Acme").expect("it renders");
        assert!(
            text.contains("https://example.com/verify-email#token=abc_-\n"),
            "{text}"
        );
        assert!(
            html.contains(r#"href="https:&#x2f;&#x2f;example.com&#x2f;verify-email#token=abc_-""#),
            "{html}"
        );
    }
}
