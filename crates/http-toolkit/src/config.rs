//! Options of the server and its middleware.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

/// Options of the server and its middleware.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// How clients reach the service. With a path, the service is below that path.
    pub public_url: Url,
    /// Address to listen on.
    pub bind_addr: SocketAddr,
    /// Origins whose pages may call, with cookies if they are of the same site.
    pub allowed_origins: Vec<HeaderValue>,
    /// Host names served; `*.example.com` stands for one or more labels before it.
    pub allowed_hosts: Vec<String>,
    /// Networks of the proxies in front, whose headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Header of trusted proxies that names the client: a list of addresses, or `forwarded` (RFC 7239).
    pub client_ip_header: HeaderName,
    /// Open connections, above which new ones get 503.
    pub max_connections: usize,
    /// Open connections of one client network, above which new ones get 429.
    pub max_connections_per_client: usize,
    /// Requests handled at once, above which new ones get 503.
    pub max_requests: usize,
    /// Request bodies of one client received at once, above which its requests get 429.
    pub max_bodies_per_client: usize,
    /// Bytes for all bodies that are being received; one client may take an eighth.
    pub body_memory: usize,
    /// From a response to the next request on its connection.
    pub idle_timeout: Duration,
    /// For a whole request head.
    pub header_timeout: Duration,
    /// For a request body to arrive.
    pub body_timeout: Duration,
    /// For a handler to respond, once the body is there.
    pub request_timeout: Duration,
    /// How long a peer may not read its response.
    pub write_timeout: Duration,
    /// Between failing readiness and closing the listener.
    pub drain_delay: Duration,
    /// For accepted requests to finish after that.
    pub drain_timeout: Duration,
    /// Rejects plain HTTP, also from peers that are no trusted proxy.
    pub requires_https: bool,
}

/// Names of this machine, which stand for each other in development.
pub const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

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
