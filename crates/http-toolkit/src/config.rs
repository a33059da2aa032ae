//! Settings of the server and its middleware.

use std::time::Duration;

use settings::{DurationOrZero, HostPattern, List, Mebibytes, Network, Origin, WebUrl};
use url::Url;

/// Names of this machine, which stand for each other in development.
pub(crate) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

settings::settings! {
    /// Options of the server and its middleware.
    pub struct HttpConfig {
        /// Rejects plain HTTP, also from peers that are no trusted proxy.
        requires_https: bool,
    }
    "HTTP", HttpSettings {
        /// How clients reach the service: `https://api.example.com`. Its host is served, links and
        /// tokens carry it, redirects to https go to it, and its pages may use a browser's cookies
        /// ([browser.md](browser.md)). With a path (`https://example.com/app`) the service is
        /// [below that path](deployment.md#below-a-path). In development `localhost`, `127.0.0.1`
        /// and `[::1]` stand for each other.
        PUBLIC_URL => public_url: WebUrl, required, example("https://api.example.com"),
            check(has_plain_path, "must have a path of a-z, A-Z, 0-9, _ and - between slashes, or none"),
            production(|url| url.scheme() == "https", "must be https");
        /// Address to listen on.
        BIND_ADDR => bind_addr: std::net::SocketAddr = "0.0.0.0:8000";
        /// Exact origins whose pages may call, such as `https://app.example.com`; with cookies, if
        /// they are of the same site.
        ALLOWED_ORIGINS => allowed_origins: List<Origin>,
            production(|origin| origin.as_bytes().starts_with(b"https://"), "must be https origins");
        /// Host names served besides the public URL's, without scheme or port; `*.example.com` stands
        /// for one or more labels before it, and a leading dot is refused.
        ALLOWED_HOSTS => allowed_hosts: List<HostPattern>,
            production(
                |host| !HostPattern::is_wide(host),
                "must not name everything or a whole top-level domain"
            );
        /// Networks of the proxies in front: `CLIENT_IP_HEADER`, `X-Forwarded-Proto`, `X-Request-Id`
        /// and `traceparent` are believed of them alone. In production every other peer has used
        /// plain http, and gets a redirect or 403.
        TRUSTED_PROXIES => trusted_proxies: List<Network>,
            production(
                |network| !Network::is_wide_and_public(network),
                "must be the networks of your own proxies: public networks wider than /11 (IPv6: /24) \
                 have strangers in them"
            );
        /// The one header of trusted proxies that names the client: a list of addresses, or
        /// `forwarded` (RFC 7239). Every other such header is ignored.
        CLIENT_IP_HEADER => client_ip_header: axum::http::HeaderName = "x-forwarded-for";
        /// Open connections, above which new ones get 503.
        HTTP_MAX_CONNECTIONS => max_connections: usize = 10000, within(1..=1000000);
        /// Open connections of one address (an IPv6 /64), above which new ones get 429; trusted
        /// proxies are exempt.
        HTTP_MAX_CONNECTIONS_PER_CLIENT => max_connections_per_client: usize = 256, within(1..=1000000);
        /// Requests handled at once, above which new ones get 503; `/health` is exempt, and a request
        /// that waits for its body does not count.
        HTTP_MAX_REQUESTS => max_requests: usize = 1000, within(1..=1000000);
        /// Request bodies of one client that are received at once, above which its requests get 429.
        HTTP_MAX_BODIES_PER_CLIENT => max_bodies_per_client: usize = 128, within(1..=1000000);
        /// Memory for all bodies that are being received, in MiB, of which one client may take an
        /// eighth; beyond, 503.
        HTTP_BODY_MEMORY_MIB => body_memory: Mebibytes<usize> = 64, within(16..=1024);
        /// From a response to the next request on its connection: longer than a balancer keeps an
        /// idle connection (mostly 60 s), or it sends a request into one that closes.
        HTTP_IDLE_TIMEOUT => idle_timeout: Duration = "75s", at_most("1h");
        /// For a whole request head, from its first byte or from the beginning of the connection.
        HTTP_HEADER_TIMEOUT => header_timeout: Duration = "10s", at_most("1h");
        /// For a request's body to arrive in whole; of an uploaded file, for each 64 KiB of it.
        HTTP_BODY_TIMEOUT => body_timeout: Duration = "10s", at_most("1h");
        /// For a handler to respond, once the body is there; then 503.
        HTTP_REQUEST_TIMEOUT => request_timeout: Duration = "15s", at_most("1h");
        /// How long a peer may not read its response.
        HTTP_WRITE_TIMEOUT => write_timeout: Duration = "30s", at_most("1h");
        /// After SIGTERM, between failing readiness and closing the listener.
        HTTP_DRAIN_DELAY => drain_delay: DurationOrZero = "5s", in_development("0"), at_most("1h");
        /// For accepted requests to finish after that.
        HTTP_DRAIN_TIMEOUT => drain_timeout: Duration = "20s", at_most("1h");
    }
}

/// The path becomes part of routes, cookie names and headers.
fn has_plain_path(url: &Url) -> bool {
    let mut segments = url.path().trim_matches('/').split('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_segment = |segment: &str| !segment.is_empty() && segment.bytes().all(is_plain);
    url.path() == "/" || segments.all(is_segment)
}

impl HttpSettings {
    /// Adds the host of the public URL to the allowed hosts; `None` if a setting is faulty.
    #[must_use]
    pub fn into_config(mut self, production: bool) -> Option<HttpConfig> {
        let public_url = self.public_url.as_ref()?;
        let is_https = public_url.scheme() == "https";
        let hosts = self.allowed_hosts.as_mut()?;
        hosts.extend(public_url.host_str().map(str::to_ascii_lowercase));
        if !production && hosts.iter().any(|host| LOOPBACK.contains(&host.as_str())) {
            hosts.extend(LOOPBACK.map(str::to_owned));
        }
        self.build(production && is_https)
    }
}

impl HttpConfig {
    /// Returns whether the public URL is HTTPS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The path of the public URL without the slash at its end: empty for the root of a host.
    #[must_use]
    pub fn base_path(&self) -> &str {
        self.public_url.path().trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_public_url_is_plain_segments() {
        let is_plain = |path: &str| {
            let url = Url::parse(&format!("https://api.example.com{path}"));
            has_plain_path(&url.expect("it is a URL"))
        };
        for good in ["/", "/app", "/app/", "/a/b-c/D_9"] {
            assert!(is_plain(good), "{good}");
        }
        for wrong in [
            "//", "/a//b", "/a.b", "/%41", "/a;b", "/a,b", "/a=b", "/\u{fc}", "/~a",
        ] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }
}
