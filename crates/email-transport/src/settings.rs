//! Types of settings: server, sender, name for EHLO, and certificates.

use std::net::{Ipv4Addr, Ipv6Addr};

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use settings::Setting;
use url::{Host, Url};

use crate::{SmtpServer, SmtpTls};

/// Parses `SMTP_URL`, and the name for EHLO that its path may hold: `smtp://` without TLS,
/// `smtp://…?tls=opportunistic` and `smtp://…?tls=required` by STARTTLS, `smtps://` with implicit TLS.
fn parse_smtp_url(text: &str) -> Option<(SmtpServer, Option<ClientId>)> {
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
        // The library does not decode the host of this scheme.
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
        name => Some(Ehlo::parse(name).ok()?),
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

/// Sender mailbox with its domain in ASCII. The local part must be ASCII, since few servers support others
/// (RFC 6531).
#[derive(Debug)]
pub struct Sender;

impl Setting for Sender {
    type Value = Mailbox;

    fn parse(text: &str) -> Result<Mailbox, String> {
        let wrong = || "must be a mailbox, such as Acme <hello@acme.com>".to_owned();
        let mailbox: Mailbox = text.parse().map_err(|_| wrong())?;
        let user = mailbox.email.user();
        if !user.is_ascii() {
            return Err("must have ASCII characters alone before the @".to_owned());
        }
        let domain = ascii_domain(mailbox.email.domain())
            .ok_or_else(|| "must have a valid domain after the @".to_owned())?;
        let email = Address::new(user, domain).map_err(|_| wrong())?;
        Ok(Mailbox::new(mailbox.name, email))
    }
}

/// Converts a domain to ASCII (RFC 5891 §4.4).
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
#[derive(Debug)]
pub struct Ehlo;

impl Setting for Ehlo {
    type Value = ClientId;

    fn parse(text: &str) -> Result<ClientId, String> {
        let literal = text.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        let name = match literal.map(|ip| ip.strip_prefix("IPv6:").unwrap_or(ip)) {
            Some(ip) => {
                let v4 = ip.parse::<Ipv4Addr>().map(ClientId::Ipv4);
                v4.or_else(|_| ip.parse::<Ipv6Addr>().map(ClientId::Ipv6))
                    .ok()
            }
            None => host_name(text).map(ClientId::Domain),
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

/// Default name for EHLO: the path of the SMTP URL, else the public host, else the sender's domain.
#[must_use]
pub fn default_hello_name(smtp_url: &str, public_url: &str, from: &str) -> Option<ClientId> {
    let (_, named) = parse_smtp_url(smtp_url)?;
    let public_url = Url::parse(public_url).ok();
    let from = Sender::parse(from).ok()?;
    Some(named.unwrap_or_else(|| default_hello(public_url.as_ref(), &from)))
}

/// The public host, else the sender's domain. It must have a dot, since receivers look it up.
fn default_hello(public_url: Option<&Url>, from: &Mailbox) -> ClientId {
    let public = public_url.and_then(Url::host_str);
    let names = public.into_iter().chain([from.email.domain()]);
    let mut names = names
        .filter(|name| name.contains('.'))
        .filter_map(host_name);
    let loopback = || ClientId::Ipv4(Ipv4Addr::LOCALHOST);
    names.next().map_or_else(loopback, ClientId::Domain)
}

/// URL of a mail server: `smtps://user:password@host:465`, or `smtp://…:587?tls=required`.
#[derive(Debug)]
pub struct SmtpUrl;

impl Setting for SmtpUrl {
    type Value = SmtpServer;

    fn parse(text: &str) -> Result<SmtpServer, String> {
        let server = parse_smtp_url(text).map(|(server, _)| server);
        server.ok_or_else(|| {
            "must be a URL such as smtps://user:password@host:465 or smtp://…:587?tls=required"
                .to_owned()
        })
    }
}

/// Path of a file; the value is its certificates in PEM.
#[derive(Debug)]
pub struct Certificates;

impl Setting for Certificates {
    type Value = Vec<String>;

    fn parse(path: &str) -> Result<Vec<String>, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot be read: {}", error.kind()))?;
        let found: Vec<_> = text
            .split_inclusive("-----END CERTIFICATE-----")
            .filter(|block| block.contains("-----BEGIN CERTIFICATE-----"))
            .map(str::to_owned)
            .collect();
        if found.is_empty() {
            return Err("must name a file with certificates in PEM".to_owned());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(text: &str) -> Result<String, String> {
        Sender::parse(text).map(|sender| sender.to_string())
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
        let parse = |text: &str| Ehlo::parse(text).map(|name| name.to_string());
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
        let from = |text| Sender::parse(text).expect("it is a mailbox");
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
}
