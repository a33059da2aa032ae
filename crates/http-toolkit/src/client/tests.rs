//! Whose address is found in what a proxy sends.

use super::*;
use crate::stack_test::config;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    use axum::http::HeaderValue;
    let pair = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (HeaderName::from_static(name), value)
    };
    lines.iter().map(pair).collect()
}

fn proxies(header: &'static str) -> Proxies {
    let mut config = config();
    config.trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
        .iter()
        .map(|network| network.parse().unwrap())
        .collect();
    config.client_ip_header = HeaderName::from_static(header);
    Proxies::new(&config)
}

const PROXY: &str = "10.0.0.1:5";
const STRANGER: &str = "203.0.113.9:5";

/// Client address with `X-Forwarded-For` as the configured header.
fn addr(peer: &str, lines: &[(&'static str, &str)]) -> String {
    addr_by("x-forwarded-for", peer, lines)
}

fn addr_by(header: &'static str, peer: &str, lines: &[(&'static str, &str)]) -> String {
    let origin = proxies(header).origin(Some(peer.parse().unwrap()), &headers(lines));
    if origin.is_unknown() {
        return "unknown".to_owned();
    }
    origin.addr.to_string()
}

#[test]
fn a_stranger_is_not_believed() {
    for header in ["x-forwarded-for", "forwarded", "cf-connecting-ip"] {
        let lines = [
            ("x-forwarded-for", "1.2.3.4"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4;proto=https"),
            ("x-forwarded-proto", "https"),
        ];
        let origin = proxies(header).origin(Some(STRANGER.parse().unwrap()), &headers(&lines));
        assert_eq!(origin.addr.to_string(), "203.0.113.9");
        assert_eq!((origin.https, origin.proxied), (None, false));
    }
}

#[test]
fn the_rightmost_untrusted_hop_is_the_client() {
    for (line, client) in [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6,203.0.113.9 , 10.1.1.1,10.2.2.2", "203.0.113.9"),
        ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9:_port", "203.0.113.9"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80, fd00::1", "203.0.113.9"),
        ("gärbage, 203.0.113.9", "203.0.113.9"),
        // Empty elements of a list are ignored (RFC 9110 §5.6.1).
        ("203.0.113.9, , 10.1.1.1", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9,,", "203.0.113.9"),
    ] {
        assert_eq!(addr(PROXY, &[("x-forwarded-for", line)]), client, "{line}");
    }
    let long = format!("{}203.0.113.9", "6.6.6.6, ".repeat(1_100));
    assert_eq!(addr(PROXY, &[("x-forwarded-for", &long)]), "203.0.113.9");
}

#[test]
fn a_mapped_peer_is_the_proxy_it_maps() {
    let lines = [("x-forwarded-for", "1.2.3.4")];
    assert_eq!(addr("[::ffff:10.0.0.1]:5", &lines), "1.2.3.4");
}

#[test]
fn several_lines_are_one_list() {
    for (first, second, client) in [
        ("6.6.6.6", "203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("203.0.113.9", "10.1.1.1", "203.0.113.9"),
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "unknown", "unknown"),
        ("gärbage", "203.0.113.9", "203.0.113.9"),
    ] {
        let lines = [("x-forwarded-for", first), ("x-forwarded-for", second)];
        assert_eq!(addr(PROXY, &lines), client, "{first} | {second}");
    }
}

#[test]
fn an_address_that_cannot_be_read_is_unknown_and_never_the_proxys_own() {
    for line in [
        "",
        ", ,",
        "unknown",
        "_hidden",
        "203.0.113.9, garbage",
        "203.0.113.9, unix:, 10.1.1.1",
        "1.2.3.4:99999",
        "1.2.3.4:",
        "[2001:db8::7",
        "[2001:db8::7]80",
        "fe80::1%eth0",
        "localhost",
        "010.1.1.1",
        "0.0.0.0",
    ] {
        let found = addr(PROXY, &[("x-forwarded-for", line)]);
        assert_eq!(found, "unknown", "{line}");
    }
}

#[test]
fn without_the_configured_header_the_peer_is_the_client() {
    let others = [
        ("forwarded", "for=198.51.100.1"),
        ("x-real-ip", "198.51.100.1"),
        ("true-client-ip", "198.51.100.1"),
    ];
    assert_eq!(addr(PROXY, &others), "10.0.0.1");
    assert_eq!(addr(PROXY, &[]), "10.0.0.1");
}

#[test]
fn one_configured_header_is_believed_whatever_the_others_say() {
    let lines = [
        ("x-forwarded-for", "203.0.113.5"),
        ("forwarded", "for=198.51.100.1"),
        ("x-real-ip", "198.51.100.2"),
        ("cf-connecting-ip", "198.51.100.3, 10.1.1.1"),
    ];
    for (header, client) in [
        ("x-forwarded-for", "203.0.113.5"),
        ("forwarded", "198.51.100.1"),
        ("x-real-ip", "198.51.100.2"),
        ("cf-connecting-ip", "198.51.100.3"),
    ] {
        assert_eq!(addr_by(header, PROXY, &lines), client, "{header}");
    }
}

#[test]
fn forwarded_is_read_by_its_grammar() {
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
        // The client's Host, quoted by the proxy, is no element of its own.
        ("for=203.0.113.9;host=\"a, for=6.6.6.6\"", "203.0.113.9"),
        ("for=203.0.113.9;host=\"a\\\", for=6.6.6.6\"", "203.0.113.9"),
        ("for=\"6.6.6.6, for=203.0.113.9", "unknown"),
        ("for=_hidden, for=10.3.3.3", "unknown"),
        ("for=203.0.113.9, for=unknown", "unknown"),
        ("for=unknown", "unknown"),
        ("for=1.1.1.1;for=2.2.2.2", "unknown"),
        ("proto=https", "unknown"),
        ("", "unknown"),
        ("for=203.0.113.9,", "203.0.113.9"),
    ] {
        let found = addr_by("forwarded", PROXY, &[("forwarded", line)]);
        assert_eq!(found, client, "{line}");
    }
}

#[test]
fn the_scheme_is_the_one_the_client_used() {
    let https = |header, lines: &[(&'static str, &str)]| {
        let peer = Some(PROXY.parse().unwrap());
        proxies(header).origin(peer, &headers(lines)).https
    };
    let listed = |value| https("x-forwarded-for", &[("x-forwarded-proto", value)]);
    assert_eq!(https("x-forwarded-for", &[]), None);
    assert_eq!(listed("https"), Some(true));
    assert_eq!(listed("HTTP"), Some(false));
    assert_eq!(listed("https, http"), Some(true));
    assert_eq!(listed("gopher"), None);
    // The element of the client counts, not one that the client wrote itself.
    let line = "for=6.6.6.6;proto=https, for=1.2.3.4;proto=\"http\", for=10.1.1.1;proto=https";
    assert_eq!(https("forwarded", &[("forwarded", line)]), Some(false));
    assert_eq!(https("x-forwarded-for", &[("forwarded", line)]), None);
}

#[test]
fn where_https_is_required_a_peer_that_is_no_proxy_has_used_plain_http() {
    let mut proxies = proxies("x-forwarded-for");
    proxies.requires_https = true;
    let claim = headers(&[("x-forwarded-proto", "https")]);
    let https = |peer: &str| proxies.origin(Some(peer.parse().unwrap()), &claim).https;
    assert_eq!(https(STRANGER), Some(false));
    assert_eq!(https("127.0.0.1:5"), Some(false));
    assert_eq!(https(PROXY), Some(true));
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
