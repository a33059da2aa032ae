//! The service under load: one process, or replicas behind `HAProxy` that divide what one process has.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use groundwork_dev::{Error, HttpProxy, Result};

use super::options::Replicas;
use super::processes::{self, REPLICAS, SERVICE, Watched};
use crate::ours::{Ours, Setup};

/// For `HAProxy` to find the replicas ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` of one process by default.
const CONNECTIONS: (usize, usize) = (10, 20);

/// The processes that serve.
pub(super) struct Running {
    processes: Vec<Ours>,
    proxy: Option<HttpProxy>,
}

impl Running {
    /// Starts one process without a proxy.
    pub(super) async fn alone(setup: &Setup) -> Result<Self> {
        let (service, _) = setup.start().await?;
        Ok(Self {
            processes: vec![service],
            proxy: None,
        })
    }

    /// Starts replicas behind `HAProxy`. The first one runs jobs as well.
    pub(super) async fn behind_proxy(setup: &Setup, replicas: Replicas) -> Result<Self> {
        let count = replicas.count;
        let part = part(count, processes::cores());
        let part: Vec<_> = part.iter().map(|(name, value)| (*name, &**value)).collect();
        let setup = setup.with(&part);
        let mut processes = Vec::new();
        for number in 0..count {
            let args: &[&str] = match number {
                0 => &["serve"],
                _ => &["serve", "--no-worker"],
            };
            let (service, _) = setup.on_another_port()?.start_with(args).await?;
            processes.push(service);
        }
        let ports: Vec<u16> = processes.iter().map(|it| it.addr.port()).collect();
        let proxy = HttpProxy::start(&ports, replicas.balance).await?;
        let began = Instant::now();
        while proxy.ready().await? < count {
            if began.elapsed() > READY_TIMEOUT {
                return Err(Error::Other(
                    "HAProxy does not find the replicas ready".into(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self {
            processes,
            proxy: Some(proxy),
        })
    }

    /// Where requests are sent.
    pub(super) fn addr(&self) -> SocketAddr {
        match &self.proxy {
            Some(proxy) => SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port())),
            None => self.processes[0].addr,
        }
    }

    /// Its processes, whose processor time is part of the report.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let watched = |name, pid| Watched {
            name,
            pid,
            has_children: false,
        };
        let Some(proxy) = &self.proxy else {
            return vec![watched(SERVICE, self.processes[0].id())];
        };
        let replicas = REPLICAS.iter().zip(&self.processes);
        let mut all: Vec<_> = replicas.map(|(name, it)| watched(*name, it.id())).collect();
        all.push(watched("HAProxy", proxy.id()));
        all
    }

    /// Replies of each replica so far; empty without a proxy.
    pub(super) async fn replies(&self) -> Result<Vec<u64>> {
        match &self.proxy {
            Some(proxy) => proxy.replies().await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn stop(self) {
        if let Some(proxy) = self.proxy {
            proxy.stop().await;
        }
        for process in self.processes {
            process.stop().await;
        }
    }
}

/// Settings of each of `count` replicas: threads and connections that together are those of one process.
pub(super) fn part(count: usize, cores: usize) -> [(&'static str, String); 4] {
    let part = |whole: usize| (whole / count).max(1).to_string();
    [
        ("TOKIO_WORKER_THREADS", part(cores)),
        ("PASSWORD_THREADS", part(cores)),
        ("DB_POOL_SIZE", part(CONNECTIONS.0)),
        ("DB_MAX_OVERFLOW", part(CONNECTIONS.1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_divide_threads_and_connections_and_have_one_at_least() {
        let values = |count, cores| part(count, cores).map(|(_, value)| value);
        assert_eq!(values(1, 8), ["8", "8", "10", "20"]);
        assert_eq!(values(4, 8), ["2", "2", "2", "5"]);
        assert_eq!(values(16, 2), ["1", "1", "1", "1"]);
    }
}
