//! A certificate for the loopback addresses, under an authority of its own, and certificates of files.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, Error, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

pub use tokio_rustls::TlsAcceptor;

use crate::error;

/// A server's side of TLS.
#[derive(Clone)]
pub struct LoopbackTls {
    pub acceptor: TlsAcceptor,
    /// The authority's certificate in PEM.
    pub authority: String,
}

impl LoopbackTls {
    /// Issues a certificate for 127.0.0.1 and `[::1]`.
    ///
    /// # Panics
    /// When the machine has no randomness.
    #[must_use]
    pub fn issue() -> Self {
        try_issue().expect("a certificate is issued")
    }
}

fn try_issue() -> Result<LoopbackTls, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let names = ["127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key was just encoded");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("key and certificate belong together");
    Ok(LoopbackTls {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority: authority.pem(),
    })
}

/// Reads a server's side of TLS: the certificate with its chain, and the key, in PEM.
pub fn read_acceptor(certificate: &Path, key: &Path) -> error::Result<TlsAcceptor> {
    let unusable = |path: &Path, why: &dyn std::fmt::Display| {
        error::Error::Other(format!("{} cannot be used: {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unusable(certificate, &why))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable(key, &why))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|why| unusable(certificate, &why))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Connections over TLS. A handshake that does not end keeps no other from being accepted.
pub(crate) struct TlsListener {
    local: io::Result<SocketAddr>,
    accepted: mpsc::Receiver<Accepted>,
    task: JoinHandle<()>,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        let (sender, accepted) = mpsc::channel(1);
        let local = listener.local_addr();
        let task = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // The listener may be gone.
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self {
            local,
            accepted,
            task,
        }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.local {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}
