//! Renders emails and sends them by SMTP.

use std::sync::LazyLock;

use email_transport::{Email, SendError};
use lettre::message::Mailbox;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use url::Url;

use super::model::{Category, EmailMessage, SYNTHETIC_DOMAIN, SuppressionReason, TEMPLATES};
use super::suppression;
use crate::metrics;
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
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// Returns whether a retry cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Send(error) => error.is_permanent(),
            Self::Address(_) => true,
            Self::Render(_) | Self::Database(_) => false,
        }
    }

    /// Returns whether the mail server refuses the recipient for good, as for a mailbox that does not exist.
    #[must_use]
    pub fn is_bounce(&self) -> bool {
        matches!(self, Self::Send(error) if error.is_bounce())
    }
}

/// Additional parts of an optional email.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    /// Page with a button, which a mail client may post to.
    pub url: Url,
    /// Left part of the Message-ID: the same if the email is sent again. Random if absent.
    pub id: Option<[u8; 16]>,
}

/// Sends an email, unless its recipient is suppressed.
pub async fn send(state: &AppState, to: &str, message: &EmailMessage) -> Result<(), Error> {
    deliver(state, to, message, None).await.map(drop)
}

/// Sends an email as an optional one, whatever its own category is. Returns the reason if the recipient is suppressed.
pub async fn send_optional(
    state: &AppState,
    to: &str,
    message: &EmailMessage,
    unsubscribe: Unsubscribe,
) -> Result<Option<SuppressionReason>, Error> {
    deliver(state, to, message, Some(unsubscribe)).await
}

async fn deliver(
    state: &AppState,
    to: &str,
    message: &EmailMessage,
    unsubscribe: Option<Unsubscribe>,
) -> Result<Option<SuppressionReason>, Error> {
    // Smoke checks sign in as accounts of this domain, which has no mail server.
    if to.ends_with(SYNTHETIC_DOMAIN) {
        return Ok(None);
    }
    let category = match unsubscribe {
        Some(_) => Category::Optional,
        None => message.category(),
    };
    let obstacle = suppression::find_obstacle(state, to, category).await?;
    if let Some(reason) = obstacle {
        tracing::info!(
            email = message.template(),
            reason = reason.as_str(),
            "email not sent: the recipient is suppressed"
        );
        metrics::count_withheld_email(reason.as_str());
        return Ok(obstacle);
    }
    let product = &state.mail.product_name;
    let (url, id) = unsubscribe.map_or((None, None), |it| (Some(it.url), it.id));
    let links = Links {
        preferences: page_link(state, "email-preferences"),
        unsubscribe: url.clone(),
    };
    let (text, html) = render(message, product, &links)?;
    let email = Email {
        to: Mailbox::new(None, to.parse()?),
        subject: message.subject(product),
        text,
        html,
        unsubscribe: url,
        id,
    };
    state.mailer.send(email).await?;
    Ok(None)
}

/// The address of a page that emails link to. It is at the configured address, never at the host of the request that
/// caused the email.
pub fn page_link(state: &AppState, page: &str) -> Url {
    let mut link = state.mail.link_url.clone();
    if let Ok(mut path) = link.path_segments_mut() {
        path.pop_if_empty().push(page);
    }
    link
}

/// Links at the end of an email.
#[derive(Clone, Debug)]
struct Links {
    preferences: Url,
    unsubscribe: Option<Url>,
}

/// Plain text and HTML.
fn render(
    message: &EmailMessage,
    product: &str,
    links: &Links,
) -> Result<(String, String), minijinja::Error> {
    let subject = message.subject(product);
    let preferences = links.preferences.as_str();
    let unsubscribe = links.unsubscribe.as_ref().map(Url::as_str);
    let context =
        context! { message => Serde(message), product, subject, preferences, unsubscribe };
    let render = |template: &str| ENVIRONMENT.get_template(template)?.render(&context);
    let name = message.template();
    let text = render(&format!("{name}.txt"))?;
    let footer = render("footer.txt")?;
    let html = render(&format!("{name}.html"))?;
    Ok((format!("{}\n\n{footer}\n", text.trim_end()), html))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(unsubscribe: Option<&str>) -> Links {
        let url = |text: &str| text.parse().expect("it is a URL");
        Links {
            preferences: url("https://example.com/email-preferences"),
            unsubscribe: unsubscribe.map(url),
        }
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let message = EmailMessage::AlreadyRegistered {
            email: "a&b@example.com".to_owned(),
        };
        let (text, html) =
            render(&message, "Smith & Sons <Ltd>", &links(None)).expect("it renders");
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
        let (text, html) = render(&message, "Acme", &links(None)).expect("it renders");
        assert!(
            text.contains("https://example.com/verify-email#token=abc_-\n"),
            "{text}"
        );
        assert!(
            html.contains(r#"href="https:&#x2f;&#x2f;example.com&#x2f;verify-email#token=abc_-""#),
            "{html}"
        );
    }

    #[test]
    fn every_email_links_to_the_preferences_and_an_optional_one_to_its_end() {
        let message = EmailMessage::OrganisationNotice {
            organisation: "<Acme>".to_owned(),
            event: "restored",
            about: "ada@example.com".to_owned(),
            purged_on: None,
            keys: Vec::new(),
        };
        let unsubscribe = "https://api.example.com/unsubscribe/a.b";
        for (url, is_optional) in [(None, false), (Some(unsubscribe), true)] {
            let (text, html) = render(&message, "Acme", &links(url)).expect("it renders");
            assert!(
                text.contains("<Acme>") && html.contains("&lt;Acme&gt;"),
                "{text}"
            );
            assert!(
                text.contains("https://example.com/email-preferences\n")
                    && html.contains("https:&#x2f;&#x2f;example.com&#x2f;email-preferences"),
                "{text}"
            );
            assert_eq!(text.contains(unsubscribe), is_optional, "{text}");
            assert_eq!(html.contains("unsubscribe&#x2f;a.b"), is_optional, "{html}");
        }
    }
}
