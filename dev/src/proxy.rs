//! A TCP proxy that misbehaves on demand, for tests of what happens when a network does.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::error::{Doing, Result};

/// What happens to connections and to what they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    #[default]
    None,
    /// The port is closed, and what was open is cut.
    Refuse,
    /// Bytes are held back, and pass once this ends.
    Freeze,
    /// Bytes vanish, and a connection that saw this stays silent for ever.
    Blackhole,
    /// Every portion waits for so long.
    Delay(Duration),
    /// One byte passes, then a pause of so long.
    Trickle(Duration),
    /// A connection is cut once it has answered so many bytes.
    CutAfter(usize),
}

/// A proxy on a port of its own; dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: Arc<AtomicU16>,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port, in front of this port of 127.0.0.1.
    pub async fn start(upstream: u16) -> Result<Self> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = bound.doing(|| "listen on 127.0.0.1".into())?;
        let address = listener.local_addr().doing(|| "find a free port".into())?;
        let (fault, faults) = watch::channel(Fault::None);
        let accepted = Arc::new(AtomicUsize::new(0));
        let upstream = Arc::new(AtomicU16::new(upstream));
        let serving = serve(
            listener,
            Arc::clone(&upstream),
            faults,
            Arc::clone(&accepted),
        );
        let task = tokio::spawn(serving);
        Ok(Self {
            address,
            upstream,
            fault,
            accepted,
            task,
        })
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL that leads through the proxy instead of straight to its host.
    ///
    /// # Panics
    /// When it is no URL with a host.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        let mut url: url::Url = url.parse().expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a URL with a host");
        url.set_port(Some(self.port())).expect("a URL with a port");
        url.into()
    }

    /// Changes what happens from now on, to open connections too.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Leads new connections to another port of 127.0.0.1.
    pub fn point_at(&self, upstream: u16) {
        self.upstream.store(upstream, Ordering::SeqCst);
    }

    /// How many connections it has taken.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    upstream: Arc<AtomicU16>,
    mut faults: watch::Receiver<Fault>,
    accepted: Arc<AtomicUsize>,
) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *faults.borrow_and_update() == Fault::Refuse {
            listener = None;
            connections.shutdown().await;
            if faults.wait_for(|now| *now != Fault::Refuse).await.is_err() {
                return;
            }
        }
        let open = match listener.take() {
            Some(open) => Ok(open),
            None => TcpListener::bind(address).await,
        };
        let Ok(open) = open else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        tokio::select! {
            client = open.accept() => if let Ok((client, _)) = client {
                accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(relay(client, upstream.load(Ordering::SeqCst), faults.clone()));
            },
            changed = faults.changed() => if changed.is_err() {
                return;
            },
        }
        listener = Some(open);
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(client: TcpStream, upstream: u16, faults: watch::Receiver<Fault>) {
    // Held in a backlog that nobody empties, as behind a firewall that drops packets.
    let mut gate = Gate(faults);
    gate.passes().await;
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = carry(from_client, to_server, gate.clone(), usize::MAX);
    let back = async {
        let limit = gate.clone().cut_after();
        carry(from_server, to_client, gate.clone(), limit).await
    };
    // An end of one direction lets the other finish; an error, as a cut is one, ends both.
    let _ = tokio::try_join!(there, back);
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut gate: Gate,
    limit: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = limit;
    loop {
        // Watched while idle as well: whoever was silent during a blackhole is lost all the same.
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            () = gate.blackholed() => return std::future::pending().await,
        };
        if read == 0 {
            gate.passes().await;
            return to.shutdown().await;
        }
        let fault = gate.passes().await;
        let portion = &buffer[..read.min(left)];
        match fault {
            Fault::Delay(time) => sleep(time).await,
            Fault::Trickle(pause) => {
                for byte in portion {
                    gate.passes().await;
                    to.write_all(&[*byte]).await?;
                    sleep(pause).await;
                }
                continue;
            }
            _ => {}
        }
        to.write_all(portion).await?;
        left -= portion.len();
        if left == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Where bytes wait while the fault says so.
#[derive(Clone)]
struct Gate(watch::Receiver<Fault>);

impl Gate {
    /// Waits out a freeze, for ever in a blackhole; answers the fault that bytes meet now.
    async fn passes(&mut self) -> Fault {
        loop {
            let fault = *self.0.borrow_and_update();
            match fault {
                Fault::Freeze if self.0.changed().await.is_ok() => {}
                Fault::Freeze | Fault::Blackhole => std::future::pending().await,
                passing => return passing,
            }
        }
    }

    /// Resolves once a blackhole begins.
    async fn blackholed(&mut self) {
        while *self.0.borrow_and_update() != Fault::Blackhole {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn cut_after(self) -> usize {
        match *self.0.borrow() {
            Fault::CutAfter(bytes) => bytes,
            _ => usize::MAX,
        }
    }
}
