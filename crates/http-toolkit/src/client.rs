//! Client address: the peer, or the hop that trusted proxies report.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::header::{FORWARDED, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::config::HttpConfig;
use crate::context::RequestContext;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const USER_AGENT_MAX: usize = 256;

/// Address and user agent of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Rightmost hop that is not a trusted proxy; unspecified (0.0.0.0) if it cannot be read.
    pub addr: IpAddr,
    /// The `User-Agent`: at most 256 printable characters.
    pub user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let origin = RequestContext::of(&parts.extensions).map(RequestContext::origin);
        Ok(Self {
            addr: origin.map_or(UNKNOWN, |origin| origin.addr),
            user_agent: user_agent(&parts.headers),
        })
    }
}

/// Address of an unknown client: a trusted proxy sent one that cannot be read, or there is no connection, as in a
/// test without a socket. Such clients share one limit.
pub const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) addr: IpAddr,
    /// The scheme the client used, where it is known.
    pub(super) https: Option<bool>,
    /// Whether the peer is a trusted proxy, whose other headers may be believed as well.
    pub(super) proxied: bool,
}

impl Origin {
    pub(super) fn is_unknown(&self) -> bool {
        self.addr == UNKNOWN
    }
}

/// Trusted proxies and the header they report the client in.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    header: HeaderName,
    /// True if a peer that is no trusted proxy has used plain http where https is required: this
    /// process itself has no TLS.
    requires_https: bool,
}

/// Client address in the configured header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forwarding {
    /// There is no such header: the peer itself is the client.
    Absent,
    /// It is there, and the hop that counts is empty, obfuscated or malformed.
    Unreadable,
    Client(Hop),
}

/// One hop of the configured header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    addr: IpAddr,
    https: Option<bool>,
}

impl Proxies {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self {
            trusted: config.trusted_proxies.clone(),
            header: config.client_ip_header.clone(),
            requires_https: config.requires_https,
        }
    }

    /// Finds the client: the peer, or what the configured header says if the peer is trusted.
    pub(super) fn origin(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Origin {
        let peer = peer.map_or(UNKNOWN, |peer| peer.ip().to_canonical());
        if !self.trusts(peer) {
            return Origin {
                addr: peer,
                https: self.requires_https.then_some(false),
                proxied: false,
            };
        }
        let (addr, https) = match self.read(headers) {
            Forwarding::Absent => (peer, None),
            Forwarding::Unreadable => (UNKNOWN, None),
            Forwarding::Client(hop) => (hop.addr, hop.https),
        };
        Origin {
            addr,
            https: https.or_else(|| listed_scheme(headers)),
            proxied: true,
        }
    }

    pub(super) fn trusts(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&addr))
    }

    /// Walks the hops from the nearest one outward, as long as each is a trusted proxy.
    fn read(&self, headers: &HeaderMap) -> Forwarding {
        let lines = headers.get_all(&self.header);
        if lines.iter().next().is_none() {
            return Forwarding::Absent;
        }
        let mut last = Forwarding::Unreadable;
        for line in lines.iter().rev() {
            let hop = if self.header == FORWARDED {
                self.read_forwarded(line.as_bytes())
            } else {
                // One odd byte on the client's side must not hide the hops on ours.
                let hops = line.as_bytes().rsplit(|byte| *byte == b',');
                self.walk(hops.map(<[u8]>::trim_ascii), |hop| {
                    let addr = parse_node(hop)?;
                    Some(Hop { addr, https: None })
                })
            };
            match hop {
                // A list may have empty elements (RFC 9110 §5.6.1), and so a line may have none.
                Ok(None) => {}
                Ok(Some(hop)) if self.trusts(hop.addr) => last = Forwarding::Client(hop),
                Ok(Some(hop)) => return Forwarding::Client(hop),
                Err(Malformed) => return Forwarding::Unreadable,
            }
        }
        last
    }

    /// The first hop that is no trusted proxy, else the last one; `None` without any.
    fn walk<'a>(
        &self,
        hops: impl Iterator<Item = &'a [u8]>,
        parse: impl Fn(&str) -> Option<Hop>,
    ) -> Result<Option<Hop>, Malformed> {
        let mut last = None;
        for hop in hops.filter(|hop| !hop.is_empty()) {
            let hop = str::from_utf8(hop).ok().and_then(&parse);
            let hop = hop.ok_or(Malformed)?;
            last = Some(hop);
            if !self.trusts(hop.addr) {
                break;
            }
        }
        Ok(last)
    }

    /// A line of `Forwarded` (RFC 7239 §4). It is split outside of quoted strings alone, since a
    /// proxy may quote the client's `Host`. A quotation that does not end hides what is ours.
    fn read_forwarded(&self, line: &[u8]) -> Result<Option<Hop>, Malformed> {
        let elements = split_unquoted(line, b',').ok_or(Malformed)?;
        self.walk(elements.into_iter().rev(), parse_element)
    }
}

/// A hop that cannot be read.
#[derive(Debug)]
struct Malformed;

/// The trimmed parts between separators that are not within a quoted string; `None` if a quoted
/// string does not end.
fn split_unquoted(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == separator && !quoted => {
                parts.push(text[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim_ascii());
    (!quoted).then_some(parts)
}

/// One element of `Forwarded`: the address of its `for` and the scheme of its `proto`.
fn parse_element(element: &str) -> Option<Hop> {
    let (mut node, mut https) = (None, None);
    for pair in split_unquoted(element.as_bytes(), b';')? {
        let Some((name, value)) = str::from_utf8(pair).ok()?.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        if name.trim().eq_ignore_ascii_case("for") {
            // Each parameter occurs once at most (RFC 7239 §4).
            if node.replace(value).is_some() {
                return None;
            }
        } else if name.trim().eq_ignore_ascii_case("proto") {
            https = scheme(value);
        }
    }
    let addr = parse_node(node?)?;
    Some(Hop { addr, https })
}

/// An address, with or without a port, an IPv6 one perhaps in brackets. A name, `unknown` and an
/// obfuscated identifier (RFC 7239 §6.3) are none.
fn parse_node(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let (host, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, (!port.is_empty()).then_some(port))
        }
        None => match node.split_once(':') {
            Some((host, port)) if !port.contains(':') => {
                (host, Some(&node[node.len() - port.len() - 1..]))
            }
            _ => (node, None),
        },
    };
    if let Some(port) = port {
        let port = port.strip_prefix(':')?;
        let obfuscated = port.len() > 1 && port.starts_with('_');
        if !obfuscated && port.parse::<u16>().is_err() {
            return None;
        }
    }
    host.parse().ok().map(|addr: IpAddr| addr.to_canonical())
}

/// The scheme at the far end of the proxies by `X-Forwarded-Proto`: the first one that is listed.
fn listed_scheme(headers: &HeaderMap) -> Option<bool> {
    let listed = headers.get(X_FORWARDED_PROTO)?.to_str().ok()?;
    scheme(listed.split(',').next()?.trim())
}

fn scheme(name: &str) -> Option<bool> {
    if name.eq_ignore_ascii_case("https") {
        Some(true)
    } else {
        name.eq_ignore_ascii_case("http").then_some(false)
    }
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    printable_user_agent(headers.get(USER_AGENT)?)
}

/// The first 256 printable characters of a `User-Agent`; `None` if it has none.
pub fn printable_user_agent(raw: &HeaderValue) -> Option<String> {
    let raw = String::from_utf8_lossy(raw.as_bytes());
    let clean: String = raw
        .chars()
        .filter(|c| !c.is_control())
        .take(USER_AGENT_MAX)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

#[cfg(test)]
mod tests;
