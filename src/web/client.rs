//! Who is calling, by address: the peer, or what a trusted proxy says of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::header::{FORWARDED, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::context::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const USER_AGENT_MAX: usize = 256;

/// The caller's address and what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The rightmost hop that no trusted proxy is.
    pub addr: IpAddr,
    /// The `User-Agent`: at most 256 printable characters.
    pub user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let origin = Exchange::of(&parts.extensions).map(Exchange::origin);
        Ok(Self {
            addr: origin.map_or(UNKNOWN, |origin| origin.addr),
            user_agent: user_agent(&parts.headers),
        })
    }
}

/// What stands for a caller whose connection is not known, as in a test without a socket.
pub(super) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) addr: IpAddr,
    /// The scheme the client spoke, where a trusted proxy tells it.
    pub(super) https: Option<bool>,
    /// Whether the peer is a trusted proxy, whose other headers may be believed as well.
    pub(super) proxied: bool,
}

impl Origin {
    /// Reads the forwarding headers, if the peer is one of the `trusted` proxies.
    pub(super) fn find(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.map_or(UNKNOWN, |peer| peer.ip().to_canonical());
        if !contains(trusted, peer) {
            return Self {
                addr: peer,
                https: None,
                proxied: false,
            };
        }
        let listed = last_untrusted(headers, &X_FORWARDED_FOR, parse_node, peer, trusted);
        let standard = last_untrusted(headers, &FORWARDED, parse_element, peer, trusted);
        let addr = match (listed, standard) {
            // A proxy that writes one header may pass the other one on as the client sent it.
            (Some(one), Some(other)) if one != other => peer,
            (Some(addr), _) | (None, Some(addr)) => addr,
            (None, None) => peer,
        };
        Self {
            addr,
            https: scheme(headers),
            proxied: true,
        }
    }
}

fn contains(networks: &[IpNet], addr: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&addr))
}

/// Walks the hops from the nearest one outward, as long as each is trusted and readable. What an
/// unreadable hop hides is unknown, so the last hop that was known stands for it. `None` without
/// such a header.
fn last_untrusted(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Option<IpAddr>,
    peer: IpAddr,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    let mut known = peer;
    for line in lines.iter().rev() {
        // Not `to_str`: one odd byte on the client's side must not hide the hops on ours.
        for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(addr) = std::str::from_utf8(hop).ok().and_then(parse) else {
                return Some(known);
            };
            known = addr;
            if !contains(trusted, known) {
                return Some(known);
            }
        }
    }
    Some(known)
}

/// The `for=` of one element of `Forwarded` (RFC 7239 §4).
fn parse_element(element: &str) -> Option<IpAddr> {
    let mut nodes = parameters(element).filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    match (nodes.next(), nodes.next()) {
        (Some((_, node)), None) => parse_node(node.trim_matches('"')),
        _ => None,
    }
}

fn parameters(element: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value.trim()))
}

/// An address, with or without a port, an IPv6 one perhaps in brackets.
fn parse_node(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let addr = node
        .parse::<IpAddr>()
        .or_else(|_| node.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| node.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()?;
    Some(addr.to_canonical())
}

/// The scheme at the far end of the proxies: the first one that is told.
fn scheme(headers: &HeaderMap) -> Option<bool> {
    let listed = headers
        .get(X_FORWARDED_PROTO)
        .and_then(|value| value.to_str().ok());
    let standard = headers.get(FORWARDED).and_then(|value| value.to_str().ok());
    let proto = listed.and_then(|line| line.split(',').next()).or_else(|| {
        let mut parameters = parameters(standard?.split(',').next()?);
        parameters
            .find(|(name, _)| name.eq_ignore_ascii_case("proto"))
            .map(|(_, value)| value)
    })?;
    let proto = proto.trim().trim_matches('"');
    if proto.eq_ignore_ascii_case("https") {
        Some(true)
    } else {
        proto.eq_ignore_ascii_case("http").then_some(false)
    }
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let raw = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    let clean: String = raw
        .chars()
        .filter(|c| !c.is_control())
        .take(USER_AGENT_MAX)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                )
            })
            .collect()
    }

    fn origin(peer: &str, lines: &[(&'static str, &str)]) -> Origin {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        Origin::find(Some(peer.parse().unwrap()), &headers(lines), &trusted)
    }

    fn addr(peer: &str, lines: &[(&'static str, &str)]) -> String {
        origin(peer, lines).addr.to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let lines = [
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4;proto=https"),
        ];
        assert_eq!(addr("203.0.113.9:5", &lines), "203.0.113.9");
        assert_eq!(origin("203.0.113.9:5", &lines).https, None);
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let peer = "10.0.0.1:5";
        for (line, client) in [
            ("203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
            ("6.6.6.6,203.0.113.9 , 10.1.1.1,10.2.2.2", "203.0.113.9"),
            ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80, fd00::1", "203.0.113.9"),
        ] {
            assert_eq!(addr(peer, &[("x-forwarded-for", line)]), client, "{line}");
        }
    }

    #[test]
    fn a_mapped_peer_is_the_proxy_it_maps() {
        assert_eq!(
            addr("[::ffff:10.0.0.1]:5", &[("x-forwarded-for", "1.2.3.4")]),
            "1.2.3.4"
        );
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
        ];
        assert_eq!(addr("10.0.0.1:5", &lines), "203.0.113.9");
    }

    #[test]
    fn junk_ends_the_walk_at_the_last_known_hop() {
        let peer = "10.0.0.1:5";
        for (line, client) in [
            ("", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
            ("203.0.113.9, garbage", "10.0.0.1"),
            ("203.0.113.9, , 10.1.1.1", "10.1.1.1"),
            ("1.2.3.4:99999", "10.0.0.1"),
            ("fe80::1%eth0", "10.0.0.1"),
            ("gärbage, 203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(addr(peer, &[("x-forwarded-for", line)]), client, "{line}");
        }
    }

    #[test]
    fn forwarded_is_read_as_well() {
        let peer = "10.0.0.1:5";
        for (line, client) in [
            ("for=203.0.113.9", "203.0.113.9"),
            (
                "For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1",
                "2001:db8::7",
            ),
            (
                "for=6.6.6.6, for=203.0.113.9;proto=http, for=10.3.3.3",
                "203.0.113.9",
            ),
            ("for=\"6.6.6.6, for=203.0.113.9", "203.0.113.9"),
            ("for=_hidden, for=10.3.3.3", "10.3.3.3"),
            ("for=unknown", "10.0.0.1"),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
        ] {
            assert_eq!(addr(peer, &[("forwarded", line)]), client, "{line}");
        }
    }

    #[test]
    fn two_headers_that_disagree_are_both_disbelieved() {
        let peer = "10.0.0.1:5";
        let same = [
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(addr(peer, &same), "203.0.113.9");
        let forged = [
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=6.6.6.6"),
        ];
        assert_eq!(addr(peer, &forged), "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_the_one_the_client_spoke() {
        let https = |lines| origin("10.0.0.1:5", lines).https;
        assert_eq!(https(&[]), None);
        assert_eq!(https(&[("x-forwarded-proto", "https")]), Some(true));
        assert_eq!(https(&[("x-forwarded-proto", "HTTP")]), Some(false));
        assert_eq!(https(&[("x-forwarded-proto", "https, http")]), Some(true));
        assert_eq!(https(&[("x-forwarded-proto", "gopher")]), None);
        assert_eq!(
            https(&[("forwarded", "for=1.2.3.4;proto=\"https\"")]),
            Some(true)
        );
    }

    #[test]
    fn a_user_agent_is_short_and_printable() {
        let long = "é".repeat(300);
        assert_eq!(
            user_agent(&headers(&[("user-agent", &long)]))
                .unwrap()
                .chars()
                .count(),
            256
        );
        assert_eq!(
            user_agent(&headers(&[("user-agent", "a\tb")])).unwrap(),
            "ab"
        );
        assert_eq!(user_agent(&headers(&[("user-agent", " ")])), None);
        assert_eq!(user_agent(&headers(&[])), None);
    }
}
