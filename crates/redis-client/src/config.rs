//! Settings of the connection.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use settings::host::{
    COMMON_PASSWORD, has_common_password, is_common_password, is_private, is_private_or,
};
use settings::{List, OneLine, Reader, RedisUrl, Setting};
use url::Url;

use crate::servers::Servers;

settings::settings! {
    /// Redis.
    pub struct RedisConfig {}
    "Redis", RedisSettings {
        /// Redis, which may be lost at any time: `rediss://:password@host:6379`.
        REDIS_URL => url: Option<RedisUrl>, secret,
            production(
                |url| is_private_or(url, &["rediss"]),
                "must be `rediss://` outside of a private network"
            ),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// The kind of server that `REDIS_URL` names: `single` (one server, or a proxy that follows the primary), `cluster` (a node of a Redis
        /// Cluster) or `sentinel` (a Sentinel, which is asked for the primary; user, password and database are those of the
        /// primary).
        REDIS_MODE => mode: RedisMode = "single";
        /// Other nodes of the cluster, or other Sentinels, as `host:port`. They are asked when that of `REDIS_URL` does not
        /// respond.
        REDIS_NODES => nodes: List<NodeAddress>;
        /// Name that the Sentinels have for the primary.
        REDIS_SENTINEL_PRIMARY => sentinel_primary: OneLine<100> = "mymaster";
        /// Password of the Sentinels, if they have one.
        REDIS_SENTINEL_PASSWORD => sentinel_password: Option<Password>, secret,
            production(|password| !is_common_password("", password.expose_secret()), COMMON_PASSWORD);
        /// What one command may add to a request. After three that take longer, Redis is not asked
        /// until it responds again.
        REDIS_TIMEOUT => timeout: Duration = "50ms", at_most("1s");
    }
}

impl RedisSettings {
    /// Rejects settings that contradict the mode.
    pub fn check(&self, reader: &mut Reader<'_>) {
        let Some(mode) = self.mode else { return };
        let url = self.url.iter().flatten().next();
        let url = url.and_then(|url| Url::parse(url.expose_secret()).ok());
        if mode != RedisMode::Single && url.is_none() && matches!(self.url, Some(None)) {
            reader.fault(Self::REDIS_URL.name, "must be set for this REDIS_MODE");
        }
        let is_encrypted = url.as_ref().is_some_and(|url| url.scheme() == "rediss");
        let is_inside = |node: &NodeAddress| is_private(&node.host);
        let nodes = self.nodes.iter().flatten();
        if url.is_some() && !is_encrypted && !nodes.into_iter().all(is_inside) {
            reader.production_fault(
                Self::REDIS_NODES.name,
                "must be in a private network, unless REDIS_URL is `rediss://`",
            );
        }
        let has_database = url.is_some_and(|url| !matches!(url.path(), "" | "/" | "/0"));
        if mode == RedisMode::Cluster && has_database {
            reader.fault(
                Self::REDIS_URL.name,
                "must have no database: a cluster has none but 0",
            );
        }
        if mode == RedisMode::Single && self.nodes.as_ref().is_some_and(|it| !it.is_empty()) {
            reader.fault(
                Self::REDIS_NODES.name,
                "is for REDIS_MODE=cluster and REDIS_MODE=sentinel",
            );
        }
    }
}

impl RedisConfig {
    /// `None` without a URL.
    #[must_use]
    pub fn servers(&self) -> Option<Servers> {
        let url = self.url.clone()?;
        let nodes = self.nodes.clone();
        Some(match self.mode {
            RedisMode::Single => Servers::Single(url),
            RedisMode::Cluster => Servers::Cluster { url, nodes },
            RedisMode::Sentinel => Servers::Sentinel {
                url,
                nodes,
                primary: self.sentinel_primary.clone(),
                password: self.sentinel_password.clone(),
            },
        })
    }
}

/// One server, or several that form a cluster or are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Single,
    /// Redis Cluster.
    Cluster,
    /// A primary and replicas that Sentinels watch.
    Sentinel,
}

impl Setting for RedisMode {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "single" => Ok(Self::Single),
            "cluster" => Ok(Self::Cluster),
            "sentinel" => Ok(Self::Sentinel),
            _ => Err("must be single, cluster or sentinel".to_owned()),
        }
    }
}

/// Host and port of a node or a Sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Name, or address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A password in one line.
#[derive(Debug)]
pub struct Password;

impl Setting for Password {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        OneLine::<500>::parse(text).map(SecretString::from)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Setting for NodeAddress {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let (host, port) = text.rsplit_once(':')?;
            let url = Url::parse(&format!("tcp://{host}/")).ok()?;
            let is_host = url.port().is_none() && url.username().is_empty() && url.path() == "/";
            let host = match url.host().filter(|_| is_host)? {
                url::Host::Ipv6(address) => address.to_string(),
                host => host.to_string(),
            };
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some(Self { host, port })
        };
        parse().ok_or_else(|| "must be hosts with ports, such as redis-2:6379".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("redis-2:6379", "redis-2", 6379),
            ("10.0.0.7:26379", "10.0.0.7", 26379),
            ("[::1]:1", "::1", 1),
        ] {
            let node = NodeAddress::parse(text).expect("it is good");
            assert_eq!((node.host.as_str(), node.port), (host, port));
        }
        for bad in [
            "",
            "redis",
            "redis:0",
            "redis:99999",
            "redis:x",
            "a@b:1",
            "a/b:1",
            ":1",
            "a:1:2",
        ] {
            assert!(NodeAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
