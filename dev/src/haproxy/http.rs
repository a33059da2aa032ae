//! A private `HAProxy` in front of replicas of the service: HTTP, with health checks of readiness.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{START_LIMIT, install, start};
use crate::{
    error::{Doing as _, Result},
    files::Scratch,
    packages::Package,
    ports,
    process::Server,
};

/// Longest time from a replica's first failed check until it gets no new request: two checks.
/// `HTTP_DRAIN_DELAY` must be longer.
const CHECKS: &str = "inter 250ms downinter 250ms fall 2 rise 1";

/// Unit by which the proxy distributes load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// A request, so that those of a client go to all replicas. nginx does so.
    Request,
    /// A connection of a client, with its requests. Load balancers below HTTP do so, such as a Service of Kubernetes.
    Connection,
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct HttpProxy {
    server: Server,
    port: u16,
    upstreams: Vec<u16>,
    scratch: Scratch,
}

impl HttpProxy {
    /// Starts a proxy in front of these ports of 127.0.0.1. A replica gets requests while its readiness is 200, so that one
    /// may start or end at any time. The proxy appends its client's address to `X-Forwarded-For`.
    pub async fn start(upstreams: &[u16], balance: Balance) -> Result<Self> {
        install(Package::Proxies)?;
        let scratch = Scratch::new(None)?;
        let port = ports::any()?.port;
        let socket = socket(&scratch);
        let text = configuration(port, upstreams, balance, &socket);
        let mut server = start(&scratch, &text, port).await?;
        // The socket gets its name a moment after the port is open.
        let is_open = async || UnixStream::connect(&socket).await.is_ok();
        server.wait_until(START_LIMIT, is_open).await?;
        Ok(Self {
            server,
            port,
            upstreams: upstreams.to_vec(),
            scratch,
        })
    }

    /// Its port, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// The replies of each upstream so far, in the order of the ports, without those to checks.
    pub async fn replies(&self) -> Result<Vec<u64>> {
        let by_name = replies(&self.statistics().await?);
        let of = |number| by_name.get(&name(number)).map_or(0, |it| it.replies);
        Ok((0..self.upstreams.len()).map(of).collect())
    }

    /// How many upstreams get requests.
    pub async fn ready(&self) -> Result<usize> {
        let by_name = replies(&self.statistics().await?);
        Ok(by_name.values().filter(|it| it.is_up).count())
    }

    async fn statistics(&self) -> Result<String> {
        let doing = || "read the statistics of HAProxy".to_owned();
        let path = socket(&self.scratch);
        let mut stream = UnixStream::connect(path).await.doing(doing)?;
        stream.write_all(b"show stat\n").await.doing(doing)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.doing(doing)?;
        Ok(text)
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.server.stop(Duration::from_secs(5)).await;
    }
}

fn socket(scratch: &Scratch) -> PathBuf {
    scratch.path().join("statistics")
}

fn name(number: usize) -> String {
    format!("replica-{}", number + 1)
}

/// A request whose connection is refused goes to another replica; one that was sent is never repeated.
fn configuration(port: u16, upstreams: &[u16], balance: Balance, statistics: &Path) -> String {
    let connections = match balance {
        Balance::Request => "",
        Balance::Connection => "    option prefer-last-server\n",
    };
    let mut text = format!(
        "global
    maxconn 8000
    stats socket {} mode 600

defaults
    mode http
    timeout connect 2s
    timeout check 1s
    timeout http-request 10s
    timeout queue 5s
    timeout client 60s
    timeout server 60s
    retries 3
    retry-on conn-failure
    option redispatch 1
    option forwardfor

listen service
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk
    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host 127.0.0.1
    http-check expect status 200
    default-server {CHECKS}
{connections}",
        statistics.display()
    );
    for (number, upstream) in upstreams.iter().enumerate() {
        let name = name(number);
        let _ = writeln!(text, "    server {name} 127.0.0.1:{upstream} check");
    }
    text
}

/// An upstream in the statistics.
#[derive(Debug, PartialEq, Eq)]
struct Upstream {
    replies: u64,
    is_up: bool,
}

/// Parses the statistics, whose first line names the columns.
fn replies(statistics: &str) -> BTreeMap<String, Upstream> {
    let mut lines = statistics.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| names.iter().position(|it| *it == name);
    let classes = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];
    let classes = classes.map(column);
    let (name, status) = (column("svname"), column("status"));
    let upstreams = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |at: Option<usize>| fields.get(at?).copied();
        let name = field(name).filter(|it| it.starts_with("replica-"))?;
        let counts = classes
            .iter()
            .filter_map(|at| field(*at)?.parse::<u64>().ok());
        let upstream = Upstream {
            replies: counts.sum(),
            is_up: field(status).is_some_and(|it| it.starts_with("UP")),
        };
        Some((name.to_owned(), upstream))
    });
    upstreams.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_summed_by_upstream() {
        let statistics =
            "# pxname,svname,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
service,FRONTEND,OPEN,0,9,0,9,9,0,
service,replica-1,UP,0,5,1,2,0,0,
service,replica-2,DOWN 1/2,0,0,0,0,3,0,
service,BACKEND,UP,0,9,0,9,9,0,
";
        let found = replies(statistics);
        let upstream = |replies, is_up| Upstream { replies, is_up };
        let expected = [
            ("replica-1".to_owned(), upstream(8, true)),
            ("replica-2".to_owned(), upstream(3, false)),
        ];
        assert_eq!(found, BTreeMap::from(expected));
    }
}
