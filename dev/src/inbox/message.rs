//! An email as it arrived, taken apart for people and for tests.

use chrono::{DateTime, Utc};
use mail_parser::{Address, MessageParser, PartType};
use url::Url;

/// An email in the inbox.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name in the inbox.
    pub id: String,
    /// When it arrived.
    pub received: DateTime<Utc>,
    /// The sender that the envelope names.
    pub sender: String,
    /// The recipients that the envelope names.
    pub recipients: Vec<String>,
    /// The header `From`.
    pub from: Mailbox,
    /// The header `To`.
    pub to: Vec<Mailbox>,
    /// The header `Cc`.
    pub cc: Vec<Mailbox>,
    /// The header `Reply-To`.
    pub reply_to: Vec<Mailbox>,
    /// The header `Subject`, decoded.
    pub subject: String,
    /// The header `Message-ID`, without its brackets.
    pub message_id: String,
    /// The header `Date`, or when it arrived.
    pub date: DateTime<Utc>,
    /// The text part, or the HTML part as text.
    pub text: String,
    /// The HTML part, empty when there is none.
    pub html: String,
    /// Every header as it was sent, unfolded, in order.
    pub headers: Vec<(String, String)>,
    /// How many bytes were sent.
    pub size: usize,
}

/// A name and an address, as headers carry them.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mailbox {
    /// The display name, empty when there is none.
    pub name: String,
    /// The address.
    pub address: String,
}

impl Message {
    /// Takes an email apart; what is not an email becomes one with the bytes as its text.
    pub(super) fn parse(sender: String, recipients: Vec<String>, raw: &[u8]) -> Self {
        let received = Utc::now();
        let mut message = Self {
            id: uuid::Uuid::now_v7().simple().to_string(),
            received,
            sender,
            recipients,
            from: Mailbox::default(),
            to: Vec::new(),
            cc: Vec::new(),
            reply_to: Vec::new(),
            subject: String::new(),
            message_id: String::new(),
            date: received,
            text: String::new(),
            html: String::new(),
            headers: Vec::new(),
            size: raw.len(),
        };
        match MessageParser::default().parse(raw) {
            Some(parsed) => message.fill(&parsed),
            None => message.text = String::from_utf8_lossy(raw).into_owned(),
        }
        message
    }

    fn fill(&mut self, parsed: &mail_parser::Message<'_>) {
        self.from = mailboxes(parsed.from())
            .into_iter()
            .next()
            .unwrap_or_default();
        self.to = mailboxes(parsed.to());
        self.cc = mailboxes(parsed.cc());
        self.reply_to = mailboxes(parsed.reply_to());
        self.subject = parsed.subject().unwrap_or_default().into();
        self.message_id = parsed.message_id().unwrap_or_default().into();
        if let Some(date) = parsed
            .date()
            .and_then(|date| DateTime::from_timestamp(date.to_timestamp(), 0))
        {
            self.date = date;
        }
        self.text = parsed.body_text(0).unwrap_or_default().into_owned();
        self.html = parsed
            .html_bodies()
            .find_map(|part| match &part.body {
                PartType::Html(html) => Some(html.to_string()),
                _ => None,
            })
            .unwrap_or_default();
        self.headers = parsed
            .headers_raw()
            .map(|(name, value)| (name.into(), unfold(value)))
            .collect();
    }

    /// Whether the envelope names this recipient, whatever the case.
    #[must_use]
    pub fn is_to(&self, address: &str) -> bool {
        self.recipients
            .iter()
            .any(|recipient| recipient.eq_ignore_ascii_case(address))
    }

    /// The first value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every web address in the text part.
    #[must_use]
    pub fn links(&self) -> Vec<Url> {
        self.text
            .split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '(' | ')'))
            .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
            .filter_map(|word| Url::parse(word.trim_end_matches(['.', ',', ';'])).ok())
            .collect()
    }

    /// The `token` in the fragment of the first link that has one.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let links = self.links();
        links
            .iter()
            .filter_map(Url::fragment)
            .find_map(|fragment| fragment.strip_prefix("token=").map(str::to_owned))
    }

    /// The first words of the text, on one line.
    pub(super) fn snippet(&self) -> String {
        let mut words = String::new();
        for word in self.text.split_whitespace() {
            if words.len() > 200 {
                words.push('…');
                break;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            words.extend(word.chars().take(200));
        }
        words
    }
}

fn mailboxes(addresses: Option<&Address<'_>>) -> Vec<Mailbox> {
    let plain = |text: Option<&str>| text.unwrap_or_default().to_owned();
    addresses
        .into_iter()
        .flat_map(Address::iter)
        .map(|found| Mailbox {
            name: plain(found.name()),
            address: plain(found.address()),
        })
        .collect()
}

fn unfold(value: &str) -> String {
    value.trim().replace("\r\n", "\n").replace('\n', "")
}
