//! HTTP/1.1 client of one user: one kept connection, by TLS where the address is https.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use groundwork_dev::{Error, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

/// Of one request. The service's own limit is shorter.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The service that is loaded.
pub(super) struct Target {
    host: String,
    port: u16,
    /// Value of `Host`.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Each user is a client of its own to a service that trusts this proxy.
    is_proxy: bool,
}

impl Target {
    /// A service on this machine, for which the load is a trusted proxy.
    pub(super) fn behind_proxy(addr: SocketAddr) -> Self {
        Self {
            host: addr.ip().to_string(),
            port: addr.port(),
            authority: addr.to_string(),
            tls: None,
            is_proxy: true,
        }
    }

    /// A deployed copy, which sees all users at one address.
    pub(super) fn deployed(url: &Url) -> Result<Self> {
        let missing = || Error::Other(format!("{url} has no host"));
        let host = url.host_str().ok_or_else(missing)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(missing)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        // An IPv6 address is in brackets in a URL, and nowhere else.
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = (url.scheme() == "https").then(|| {
            let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
            let config = ClientConfig::builder()
                .with_root_certificates(roots.collect::<RootCertStore>())
                .with_no_client_auth();
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|error| Error::Other(error.to_string()))?;
            Ok::<_, Error>((TlsConnector::from(Arc::new(config)), name))
        });
        Ok(Self {
            host,
            port,
            authority,
            tls: tls.transpose()?,
            is_proxy: false,
        })
    }
}

/// A reply: its status and its body, which is empty unless it is JSON.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) json: Value,
}

/// Body of a request with its media type.
pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self {
            media_type: "application/json",
            bytes: value.to_string().into(),
        }
    }
}

/// Client of one user.
pub(super) struct Client {
    target: Arc<Target>,
    /// Address that the user has at a service that trusts this proxy.
    address: Ipv4Addr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(target: Arc<Target>, user: u32) -> Self {
        // 198.18.0.0/15 is reserved for benchmarks (RFC 2544).
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + user);
        Self {
            target,
            address,
            connection: None,
        }
    }

    /// Sends the next requests to another address.
    pub(super) fn lead_to(&mut self, target: Arc<Target>) {
        self.target = target;
        self.connection = None;
    }

    /// Sends a request and reads the whole reply.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        content: Option<Content>,
    ) -> io::Result<Reply> {
        let exchange = self.send_and_read(method, path, token, content);
        let reply = timeout(TIMEOUT, exchange).await;
        reply.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn send_and_read(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        content: Option<Content>,
    ) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            // Closed while the user did nothing, which a browser does not show either.
            Some(kept) if !kept.is_closed() => kept,
            _ => self.open().await?,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.target.authority)
            .header("user-agent", "groundwork-load-test");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if self.target.is_proxy {
            request = request.header("x-forwarded-for", self.address.to_string());
        }
        let mut body = Bytes::new();
        if let Some(content) = content {
            request = request.header("content-type", content.media_type);
            body = content.bytes;
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        connection.ready().await.map_err(io::Error::other)?;
        let reply = connection.send_request(request).await;
        let (head, body) = reply.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        self.connection = Some(connection);
        Ok(Reply {
            status: head.status.as_u16(),
            json: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    async fn open(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let address = (self.target.host.as_str(), self.target.port);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match &self.target.tls {
            Some((connector, name)) => begin(connector.connect(name.clone(), stream).await?).await,
            None => begin(stream).await,
        }
    }
}

async fn begin<S>(stream: S) -> io::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
