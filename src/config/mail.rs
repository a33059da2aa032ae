//! The types of the mail settings: what the mail server is sent must be readable by any mail server.

use std::net::{Ipv4Addr, Ipv6Addr};

use email_transport::{ClientId as HelloName, SmtpServer, SmtpTls};
use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

use super::reader::Reader;
use super::setting::Setting;

/// The longest name that still fits into the QR code of an authenticator app, however it is encoded.
const LONGEST_PRODUCT_NAME: usize = 64;

/// Parses `SMTP_URL`, and the name for EHLO that its path may hold: `smtp://` without TLS,
/// `smtp://…?tls=opportunistic` and `smtp://…?tls=required` by STARTTLS, `smtps://` with implicit TLS.
pub(super) fn parse_smtp_url(text: &str) -> Option<(SmtpServer, Option<HelloName>)> {
    let url = Url::parse(text).ok()?;
    let tls = url.query_pairs().find(|(name, _)| name == "tls");
    let tls = tls.map(|(_, value)| value.into_owned());
    let (tls, port) = match (url.scheme(), tls.as_deref()) {
        ("smtp", None) => (SmtpTls::Never, 25),
        ("smtp", Some("opportunistic")) => (SmtpTls::Opportunistic, 587),
        ("smtp", Some("required")) => (SmtpTls::Required, 587),
        ("smtps", _) => (SmtpTls::Implicit, 465),
        _ => return None,
    };
    let host = match url.host()? {
        // Of this scheme the library has not yet decoded the name.
        Host::Domain(name) => Host::parse(name).ok()?,
        Host::Ipv4(ip) => Host::Ipv4(ip),
        Host::Ipv6(ip) => Host::Ipv6(ip),
    };
    let decoded = |text| percent_decode_str(text).decode_utf8().ok();
    let credentials = match url.password() {
        Some(password) => {
            let password = SecretString::from(decoded(password)?.into_owned());
            Some((decoded(url.username())?.into_owned(), password))
        }
        None => None,
    };
    let hello = match url.path().trim_matches('/') {
        "" => None,
        name => Some(HelloName::parse(name).ok()?),
    };
    let port = url.port().unwrap_or(port);
    let server = SmtpServer {
        host,
        port,
        tls,
        credentials,
    };
    Some((server, hello))
}

/// The mailbox that emails come from, with its domain in ASCII. Its local part is ASCII as well: few
/// servers take another (RFC 6531), and a receiver that does not would refuse every email.
pub(super) struct Sender(pub(super) Mailbox);

impl Setting for Sender {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be a mailbox, such as Acme <hello@acme.com>".to_owned();
        let mailbox: Mailbox = text.parse().map_err(|_| wrong())?;
        let user = mailbox.email.user();
        if !user.is_ascii() {
            return Err("must have ASCII characters alone before the @".to_owned());
        }
        let domain = ascii_domain(mailbox.email.domain())
            .ok_or_else(|| "must have a valid domain after the @".to_owned())?;
        let email = Address::new(user, domain).map_err(|_| wrong())?;
        Ok(Self(Mailbox::new(mailbox.name, email)))
    }
}

/// A domain with its labels in ASCII (RFC 5891 §4.4); what is ASCII already stays as it is.
fn ascii_domain(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        return Some(domain.to_owned());
    }
    match Host::parse(domain).ok()? {
        Host::Domain(ascii) => Some(ascii),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// A host name, or an address literal (RFC 5321 §4.1.3).
impl Setting for HelloName {
    fn parse(text: &str) -> Result<Self, String> {
        let literal = text.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        let name = match literal.map(|ip| ip.strip_prefix("IPv6:").unwrap_or(ip)) {
            Some(ip) => {
                let v4 = ip.parse::<Ipv4Addr>().map(Self::Ipv4);
                v4.or_else(|_| ip.parse::<Ipv6Addr>().map(Self::Ipv6)).ok()
            }
            None => host_name(text).map(Self::Domain),
        };
        name.ok_or_else(|| "must be a host name such as mail.acme.com, or [203.0.113.7]".to_owned())
    }
}

/// A host name in ASCII: labels of letters, digits and inner hyphens (RFC 5321 §4.1.2).
fn host_name(text: &str) -> Option<String> {
    let name = ascii_domain(text)?;
    let is_label = |label: &str| {
        let is_inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.parse::<Ipv4Addr>().is_ok();
    (name.len() <= 253 && name.split('.').all(is_label) && !is_address).then_some(name)
}

/// The name for EHLO where none is set: the public host, else the sender's domain. A receiver looks
/// it up, so a name without a dot is no good.
pub(super) fn default_hello(public_url: Option<&Url>, from: &Mailbox) -> HelloName {
    let public = public_url.and_then(Url::host_str);
    let names = public.into_iter().chain([from.email.domain()]);
    let mut names = names
        .filter(|name| name.contains('.'))
        .filter_map(host_name);
    let loopback = || HelloName::Ipv4(Ipv4Addr::LOCALHOST);
    names.next().map_or_else(loopback, HelloName::Domain)
}

/// A product's name: one line that fits into subjects, and into the label of an authenticator app.
pub(super) struct ProductName(pub(super) String);

impl Setting for ProductName {
    fn parse(text: &str) -> Result<Self, String> {
        // Unicode has line breaks besides the control characters.
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let fits = (1..=LONGEST_PRODUCT_NAME).contains(&text.chars().count());
        (fits && !text.contains(breaks))
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| format!("must be 1 to {LONGEST_PRODUCT_NAME} characters in one line"))
    }
}

impl Reader<'_> {
    /// The certificates, each in PEM, in the file that `SSL_CERT_FILE` names, as OpenSSL and others read
    /// it.
    pub(super) fn certificates(&mut self) -> Option<Vec<String>> {
        const NAME: &str = "SSL_CERT_FILE";
        let before = self.fault_count();
        let Some(path) = self.optional::<String>(NAME) else {
            return (self.fault_count() == before).then(Vec::new);
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.fault(NAME, format!("cannot be read: {}", error.kind()));
                return None;
            }
        };
        let found: Vec<_> = text
            .split_inclusive("-----END CERTIFICATE-----")
            .filter(|block| block.contains("-----BEGIN CERTIFICATE-----"))
            .map(str::to_owned)
            .collect();
        if found.is_empty() {
            self.fault(NAME, "must name a file with certificates in PEM");
            return None;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(text: &str) -> Result<String, String> {
        Sender::parse(text).map(|sender| sender.0.to_string())
    }

    #[test]
    fn the_senders_domain_is_written_in_ascii_and_its_local_part_must_be() {
        for (text, address) in [
            ("Acme <hello@acme.com>", "Acme <hello@acme.com>"),
            ("hello@B\u{fc}cher.example", "hello@xn--bcher-kva.example"),
            ("hello@bu\u{308}cher.example", "hello@xn--bcher-kva.example"),
            ("a@\u{65e5}\u{672c}.example", "a@xn--wgv71a.example"),
            ("a@localhost", "a@localhost"),
        ] {
            assert_eq!(sender(text).as_deref(), Ok(address), "{text}");
        }
        for text in [
            "h\u{e9}llo@acme.com",
            "hello",
            "hello@",
            "hello@b\u{fc}cher..example",
            "hello@\u{200d}.example",
            "",
        ] {
            assert!(sender(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_name_for_ehlo_is_one_that_the_standard_allows() {
        let parse = |text: &str| HelloName::parse(text).map(|name| name.to_string());
        for (text, name) in [
            ("mail.acme.com", "mail.acme.com"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("[203.0.113.7]", "[203.0.113.7]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("[2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("web-1", "web-1"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(name), "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "203.0.113.7",
            "mail_1.acme.com",
            "-a.example",
            "a-.example",
            "a..example",
            "a.example.",
            "[a]",
            "a b",
            "a.example\r\nRSET",
            &long,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_greeting_that_is_not_set_names_the_public_host_or_the_senders_domain() {
        let from = |text| Sender::parse(text).expect("it is a mailbox").0;
        let name = |url: &str, sender| {
            let url = Url::parse(url).expect("it is a URL");
            default_hello(Some(&url), &from(sender)).to_string()
        };
        assert_eq!(name("https://api.acme.com", "a@b.com"), "api.acme.com");
        assert_eq!(name("http://127.0.0.1:8000", "a@b.com"), "b.com");
        assert_eq!(name("http://[::1]:8000", "a@b.com"), "b.com");
        assert_eq!(name("http://localhost", "a@b.com"), "b.com");
        assert_eq!(name("http://localhost", "a@localhost"), "[127.0.0.1]");
    }

    #[test]
    fn a_mail_servers_url_is_read_as_it_is_dialled() {
        let parse = |text| {
            let (server, hello) = parse_smtp_url(text)?;
            let hello = hello.map(|name| name.to_string());
            Some((server.host.to_string(), server.port, server.tls, hello))
        };
        let host = |host: &str, port, tls| Some((host.to_owned(), port, tls, None));
        for (text, read) in [
            ("smtp://[::1]:2525", host("[::1]", 2525, SmtpTls::Never)),
            ("smtp://127.0.0.1", host("127.0.0.1", 25, SmtpTls::Never)),
            (
                "smtps://a:b@acme.com",
                host("acme.com", 465, SmtpTls::Implicit),
            ),
            (
                "smtp://acme.com?tls=required",
                host("acme.com", 587, SmtpTls::Required),
            ),
            (
                "smtp://b\u{fc}cher.example?tls=opportunistic",
                host("xn--bcher-kva.example", 587, SmtpTls::Opportunistic),
            ),
            ("smtp://acme.com?tls=yes", None),
            ("smtp://acme.com/not_a_name", None),
            ("http://acme.com", None),
            ("smtp:acme.com", None),
        ] {
            assert_eq!(parse(text), read, "{text}");
        }
        let named = parse("smtp://acme.com/web.acme.com").and_then(|read| read.3);
        assert_eq!(named.as_deref(), Some("web.acme.com"));
    }

    #[test]
    fn a_products_name_is_one_line_that_fits_into_a_label() {
        let fits = |text: &str| ProductName::parse(text).is_ok();
        assert!(fits("Acme: Rockets & more") && fits(&"\u{1f680}".repeat(64)));
        for text in ["a\nb", "a\r\nBcc: b", "a\u{2028}b", "a\0b", "a\u{85}b"] {
            assert!(!fits(text), "{text:?}");
        }
        assert!(!fits(&"x".repeat(65)));
    }
}
