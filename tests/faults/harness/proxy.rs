//! A proxy in front of a service, and raw exchanges through it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use groundwork_dev::files::Scratch;
use groundwork_dev::ports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Service, TIMEOUT, until};

/// Configuration of nginx in production.
pub const CONFIGURATION: &str = include_str!("../../../deploy/nginx/nginx.conf");

/// A proxy in front of a service; dropping it ends it.
pub struct Proxy {
    pub port: u16,
    pub directory: Scratch,
    _child: Child,
}

/// Where a program is, as `make test-faults` found or installed it.
pub fn program(variable: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    std::env::var_os(variable).map(PathBuf::from)
}

impl Proxy {
    /// Starts a proxy by the file that `configure` makes for a port and a directory.
    pub async fn start(
        program: &Path,
        args: &[&str],
        configure: impl Fn(u16, &Path) -> String,
    ) -> Self {
        let directory = Scratch::new(None).expect("a directory is made");
        let reserved = ports::reserve(None, 18_300).expect("a port is free");
        let port = reserved.port;
        let file = directory.path().join("proxy.conf");
        let configuration = configure(port, directory.path());
        std::fs::write(&file, configuration).expect("it is written");
        let child = Command::new(program)
            .args(args)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the proxy starts");
        let proxy = Self {
            port,
            directory,
            _child: child,
        };
        until("the proxy listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        proxy
    }

    /// nginx by the file that production has, but for TLS, ports and places.
    pub async fn nginx(program: &Path, service: &Service) -> Self {
        Self::nginx_by(program, service, CONFIGURATION).await
    }

    pub async fn nginx_by(program: &Path, service: &Service, configuration: &str) -> Self {
        let upstream = format!("127.0.0.1:{}", service.port);
        let probe = ports::reserve(None, 18_400).expect("a port is free");
        // In one process there is no other user to hand files to.
        let args = ["-g", "daemon off; master_process off;", "-c"];
        Self::start(program, &args, |port, directory| {
            let kept = configuration.lines().filter(|line| {
                let line = line.trim_start();
                // The tests speak without TLS; `http2 on` is younger than Debian's nginx.
                !["ssl_", "http2 ", "listen 8443"]
                    .iter()
                    .any(|start| line.starts_with(start))
                    && !line.contains("-2:8000")
                    && !line.ends_with(" backup;")
            });
            let mut text: String = kept.map(|line| format!("{line}\n")).collect();
            for (from, to) in [
                ("listen 8080", format!("listen 127.0.0.1:{port}")),
                ("127.0.0.1:8081", format!("127.0.0.1:{}", probe.port)),
                ("blue-1:8000", upstream.clone()),
                ("green-1:8000", upstream.clone()),
                ("/tmp/", format!("{}/", directory.display())),
                ("/dev/stdout", format!("{}/access.log", directory.display())),
            ] {
                assert!(text.contains(from), "the file has no {from}");
                text = text.replace(from, &to);
            }
            text
        })
        .await
    }

    /// Sends bytes and reads what comes back until the connection is closed.
    pub async fn raw(&self, request: &str) -> String {
        exchange(PEER, self.port, request).await
    }
}

/// The address of the proxies, and of the tests where it does not matter.
pub const PEER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A client that is no proxy.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

pub async fn exchange(from: Ipv4Addr, port: u16, request: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket is made");
    socket
        .bind(SocketAddr::from((from, 0)))
        .expect("the address is ours");
    let proxy = SocketAddr::from((PEER, port));
    let mut stream = socket.connect(proxy).await.expect("it listens");
    // A refusal may come before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut reply))
        .await
        .expect("it is closed");
    String::from_utf8_lossy(&reply).into_owned()
}
