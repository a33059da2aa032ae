//! Renders emails and sends them by SMTP.

use std::sync::LazyLock;

use email_transport::SendError;
use lettre::message::Mailbox;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};

use super::model::{EmailMessage, TEMPLATES};
use crate::state::AppState;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the shipped templates are well-formed");
    }
    environment
});

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the email cannot be rendered")]
    Render(#[from] minijinja::Error),
    #[error("the recipient's address is invalid")]
    Address(#[from] lettre::address::AddressError),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Error {
    /// Returns whether a retry cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Send(error) => error.is_permanent(),
            Self::Address(_) => true,
            Self::Render(_) => false,
        }
    }
}

pub async fn send(state: &AppState, to: &str, message: &EmailMessage) -> Result<(), Error> {
    let product = &state.mail.product_name;
    let (text, html) = render(message, product)?;
    let to = Mailbox::new(None, to.parse()?);
    let subject = message.subject(product);
    Ok(state.mailer.send(to, &subject, text, html).await?)
}

/// Plain text and HTML.
fn render(message: &EmailMessage, product: &str) -> Result<(String, String), minijinja::Error> {
    let subject = message.subject(product);
    let context = context! { message => Serde(message), product, subject };
    let name = message.template();
    let render = |part: &str| {
        let template = ENVIRONMENT.get_template(&format!("{name}.{part}"))?;
        template.render(&context)
    };
    Ok((render("txt")?, render("html")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let message = EmailMessage::AlreadyRegistered {
            email: "a&b@example.com".to_owned(),
        };
        let (text, html) = render(&message, "Smith & Sons <Ltd>").expect("it renders");
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
        let message = EmailMessage::VerifyEmail { link, hours: 24 };
        let (text, html) = render(&message, "Acme").expect("it renders");
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
