//! Ports: friendly numbers first, and two checkouts that start at once never get the same one.

use std::{
    env, fs,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::error::{Doing, Error, Result};

/// How many neighbours of a friendly port are tried before the system chooses.
const NEIGHBOURS: u16 = 10;

/// A port kept for a child that binds it itself.
#[derive(Debug)]
pub struct Reserved {
    /// The number.
    pub port: u16,
    _lock: Option<fs::File>,
}

/// Listens on the port of the last run, a friendly one, or any.
pub fn listen(last: Option<u16>, friendly: u16) -> Result<TcpListener> {
    let found = candidates(last, friendly)
        .filter(|port| !answers(*port))
        .find_map(|port| bind(port).ok());
    found
        .map_or_else(|| bind(0), Ok)
        .doing(|| "listen on 127.0.0.1".into())
}

/// Keeps the port of the last run, a friendly one, or any, for a child.
pub fn reserve(last: Option<u16>, friendly: u16) -> Result<Reserved> {
    for port in candidates(last, friendly) {
        let Ok(Some(lock)) = lock(port) else { continue };
        if !answers(port) && bind(port).is_ok() {
            return Ok(Reserved {
                port,
                _lock: Some(lock),
            });
        }
    }
    any()
}

/// Some free port, for a child that can be started again on another one.
pub fn any() -> Result<Reserved> {
    let port = bind(0)
        .and_then(|listener| listener.local_addr())
        .doing(|| "find a free port".into())?
        .port();
    Ok(Reserved { port, _lock: None })
}

/// Starts a child on a free port, and on another one when somebody has taken it meanwhile.
pub async fn on_any<T>(limit: Duration, start: impl AsyncFn(u16) -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match start(any()?.port).await {
            Err(Error::Died { log, .. }) if log.contains("in use") && began.elapsed() < limit => {}
            other => return other,
        }
    }
}

/// Returns whether something listens on the port.
pub async fn is_open(port: u16) -> bool {
    tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .is_ok()
}

fn candidates(last: Option<u16>, friendly: u16) -> impl Iterator<Item = u16> {
    last.into_iter()
        .chain(friendly..friendly.saturating_add(NEIGHBOURS))
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Some systems let a specific address be bound beside a wildcard one.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// The lock of one port among all users of the machine; none when another run holds it.
fn lock(port: u16) -> io::Result<Option<fs::File>> {
    let path = env::temp_dir().join(format!("{}-port-{port}.lock", env!("CARGO_PKG_NAME")));
    // Opened for reading: in a sticky directory another user's file may not be opened to create.
    let file = match fs::File::open(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)?,
        other => other?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}
