//! An email and its headers (RFC 5322).

use lettre::Message;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use url::Url;

/// An email to one recipient.
#[derive(Clone, Debug)]
pub struct Email {
    /// Recipient.
    pub to: Mailbox,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
    /// Address that a mail client posts to when its user unsubscribes with one click (RFC 8058).
    pub unsubscribe: Option<Url>,
    /// Left part of the Message-ID, random if absent. An email that is sent again under the same one is recognised by
    /// mailboxes.
    pub id: Option<[u8; 16]>,
}

impl Email {
    /// Composes the message. Header values are encoded, which prevents header injection.
    pub(crate) fn compose(
        self,
        from: Mailbox,
        id: [u8; 16],
    ) -> Result<Message, lettre::error::Error> {
        let id = u128::from_be_bytes(id);
        let message = Message::builder()
            // RFC 5322 §3.6.4
            .message_id(Some(format!("<{id:032x}@{}>", from.email.domain())))
            .from(from)
            .to(self.to)
            .subject(self.subject)
            // Suppresses automatic replies (RFC 3834 §5).
            .header(AutoSubmitted);
        let message = match &self.unsubscribe {
            Some(url) => message
                .header(ListUnsubscribe(url.to_string()))
                .header(ListUnsubscribePost),
            None => message,
        };
        message.multipart(MultiPart::alternative_plain_html(self.text, self.html))
    }
}

/// Declares headers that are written as they are, on one line. A value is printable ASCII without spaces, since some
/// receivers do not unfold the headers that they read addresses from.
macro_rules! headers {
    ($($name:ident $(($field:ty))? $text:literal => $value:expr;)+) => {$(
        #[derive(Clone)]
        struct $name $(($field))?;

        impl Header for $name {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($text)
            }

            fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Err("not read".into())
            }

            fn display(&self) -> HeaderValue {
                let value: fn(&Self) -> String = $value;
                let value = value(self);
                HeaderValue::dangerous_new_pre_encoded(Self::name(), value.clone(), value)
            }
        }
    )+};
}

headers! {
    AutoSubmitted "Auto-Submitted" => |_| "auto-generated".to_owned();
    ListUnsubscribe(String) "List-Unsubscribe" => |url| format!("<{}>", url.0);
    ListUnsubscribePost "List-Unsubscribe-Post" => |_| "List-Unsubscribe=One-Click".to_owned();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(unsubscribe: Option<&str>) -> String {
        let email = Email {
            to: "ada@example.com".parse().expect("it is an address"),
            subject: "Bücher\r\nBcc: eve@example.com".to_owned(),
            text: "text".to_owned(),
            html: "html".to_owned(),
            unsubscribe: unsubscribe.map(|url| url.parse().expect("it is a URL")),
            id: None,
        };
        let from = "Acme <no-reply@acme.example>".parse();
        let message = email.compose(from.expect("it is a mailbox"), [7; 16]);
        String::from_utf8(message.expect("it is composed").formatted()).expect("it is ASCII")
    }

    #[test]
    fn the_address_to_unsubscribe_is_on_one_line_however_long() {
        let url = format!(
            "https://api.acme.example/base/unsubscribe/{}",
            "a".repeat(300)
        );
        let text = message(Some(&url));
        let line = format!("\r\nList-Unsubscribe: <{url}>\r\n");
        assert!(text.contains(&line), "{text}");
        assert!(
            text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"),
            "{text}"
        );
        assert!(!message(None).contains("List-Unsubscribe"));
    }

    #[test]
    fn no_character_of_an_address_ends_its_header() {
        let text = message(Some("https://a.example/x>\r\nBcc:%0d%0ae\u{e9}"));
        assert!(
            text.contains("\r\nList-Unsubscribe: <https://a.example/x%3EBcc:%0d%0ae%C3%A9>\r\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| !line.starts_with("Bcc")), "{text}");
    }

    #[test]
    fn the_message_id_is_the_given_one() {
        let id = format!("Message-ID: <{}@acme.example>\r\n", "07".repeat(16));
        assert!(message(None).contains(&id));
    }
}
