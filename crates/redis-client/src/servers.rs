//! One server, a cluster, or a primary that Sentinels name.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisFuture, TlsMode, Value,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use crate::config::NodeAddress;
use crate::{CONNECT_TIMEOUT, RedisError};

/// Retries of a command by the client of a cluster, such as after a redirection.
const CLUSTER_RETRIES: u32 = 2;

/// Addresses and credentials.
#[derive(Clone, Debug)]
pub enum Servers {
    /// One server, or a proxy that follows the primary.
    Single(SecretString),
    /// Nodes of a Redis Cluster.
    Cluster {
        /// A node, with the credentials of all.
        url: SecretString,
        /// Other nodes.
        nodes: Vec<NodeAddress>,
    },
    /// Sentinels.
    Sentinel {
        /// A Sentinel, with the credentials and the database of the primary.
        url: SecretString,
        /// Other Sentinels.
        nodes: Vec<NodeAddress>,
        /// Name that they have for the primary.
        primary: String,
        /// Password of the Sentinels.
        password: Option<SecretString>,
    },
}

/// Client of [`Servers`].
pub(crate) struct Target {
    /// Servers that are asked for their mode.
    nodes: Vec<Client>,
    kind: Kind,
}

enum Kind {
    Single,
    Cluster(ClusterClient),
    /// The client keeps connections to the Sentinels.
    Sentinel(Mutex<SentinelClient>),
}

/// A client that opens connections. A trait object, since the compiler would otherwise go through all types of the
/// client for each future that holds one.
pub(crate) trait Open: Send + Sync {
    fn is_cluster(&self) -> bool;

    /// Returns a connection that is opened on first use, where that is possible without asking a server.
    fn open_lazy(&self) -> Result<Option<Connection>, redis::RedisError>;

    /// Opens a connection. With Sentinels it leads to the server that is the primary now.
    fn open(&self) -> RedisFuture<'_, Option<Connection>>;

    /// Compares the mode of the first node that responds with ours.
    fn check_mode(&self) -> CheckMode<'_>;
}

/// See [`Open::check_mode`].
type CheckMode<'a> = Pin<Box<dyn Future<Output = Result<(), RedisError>> + Send + 'a>>;

/// A connection that reconnects; clones share it. A trait object, as [`Open`].
#[derive(Clone)]
pub(crate) struct Connection(Arc<dyn Query>);

trait Query: Send + Sync {
    fn send<'a>(&self, command: &'a Cmd) -> RedisFuture<'a, Value>;
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Query for C {
    fn send<'a>(&self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_command(command).await })
    }
}

impl Target {
    pub(crate) fn new(servers: &Servers) -> Result<Self, redis::RedisError> {
        let (url, others) = match servers {
            Servers::Single(url) => (url, &[][..]),
            Servers::Cluster { url, nodes } | Servers::Sentinel { url, nodes, .. } => {
                (url, &nodes[..])
            }
        };
        let first = url.expose_secret().into_connection_info()?;
        let others = others.iter().map(|node| at(&first, node));
        let infos: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
        let kind = match servers {
            Servers::Single(_) => Kind::Single,
            Servers::Cluster { .. } => {
                let client = ClusterClient::builder(infos.iter().cloned())
                    .retries(CLUSTER_RETRIES)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(CONNECT_TIMEOUT);
                Kind::Cluster(client.build()?)
            }
            Servers::Sentinel {
                primary, password, ..
            } => {
                let client = sentinel(&infos, primary, password.as_ref())?;
                Kind::Sentinel(Mutex::new(client))
            }
        };
        let is_sentinel = matches!(kind, Kind::Sentinel(_));
        let infos = infos.into_iter().map(|info| {
            // The credentials are those of the primary.
            if is_sentinel {
                info.set_redis_settings(RedisConnectionInfo::default())
            } else {
                info
            }
        });
        let nodes = infos.map(Client::open).collect::<Result<_, _>>()?;
        Ok(Self { nodes, kind })
    }

    async fn compare_mode(&self, mut connection: MultiplexedConnection) -> Result<(), RedisError> {
        let info: Result<String, _> = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await;
        // Users may be without the right to ask.
        let Ok(info) = info else { return Ok(()) };
        let mode = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_mode:"));
        match (&self.kind, mode) {
            (Kind::Single, Some("cluster")) => Err(RedisError::Mode(
                "REDIS_URL leads to a Redis Cluster: set REDIS_MODE=cluster",
            )),
            (Kind::Single | Kind::Cluster(_), Some("sentinel")) => Err(RedisError::Mode(
                "REDIS_URL leads to a Sentinel: set REDIS_MODE=sentinel",
            )),
            (Kind::Cluster(_), Some("standalone")) => Err(RedisError::Mode(
                "REDIS_URL leads to a server without cluster mode: set REDIS_MODE=single",
            )),
            (Kind::Sentinel(_), Some("standalone" | "cluster")) => Err(RedisError::Mode(
                "REDIS_URL leads to a server that is no Sentinel: set its address, or REDIS_MODE=single",
            )),
            _ => Ok(()),
        }
    }
}

impl Open for Target {
    fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    fn open_lazy(&self) -> Result<Option<Connection>, redis::RedisError> {
        match (&self.kind, self.nodes.first()) {
            (Kind::Single, Some(client)) => managed(client.clone()).map(Some),
            _ => Ok(None),
        }
    }

    fn open(&self) -> RedisFuture<'_, Option<Connection>> {
        Box::pin(async move {
            match &self.kind {
                Kind::Single => self.open_lazy(),
                Kind::Cluster(client) => {
                    let connection = client.get_async_connection().await?;
                    Ok(Some(Connection(Arc::new(connection))))
                }
                Kind::Sentinel(client) => {
                    let primary = client.lock().await.async_get_client().await?;
                    managed(primary).map(Some)
                }
            }
        })
    }

    fn check_mode(&self) -> CheckMode<'_> {
        Box::pin(async move {
            let mut failure = RedisError::Unavailable;
            for node in &self.nodes {
                match node.get_multiplexed_async_connection().await {
                    Ok(connection) => return self.compare_mode(connection).await,
                    Err(error) => failure = error.into(),
                }
            }
            Err(failure)
        })
    }
}

impl Connection {
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, redis::RedisError> {
        let value = self.0.send(command).await?;
        Ok(T::from_redis_value(value.extract_error()?)?)
    }
}

/// The same credentials and encryption at another address.
fn at(info: &ConnectionInfo, node: &NodeAddress) -> ConnectionInfo {
    let (host, port) = (node.host.clone(), node.port);
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

fn sentinel(
    sentinels: &[ConnectionInfo],
    primary: &str,
    password: Option<&SecretString>,
) -> Result<SentinelClient, redis::RedisError> {
    let addresses = sentinels.iter().map(|info| info.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, primary, SentinelServerType::Master)?;
    if let Some(info) = sentinels.first() {
        let of_primary = info.redis_settings();
        builder = builder.set_client_to_redis_db(of_primary.db());
        if let Some(username) = of_primary.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = of_primary.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password.expose_secret());
    }
    builder.build()
}

fn managed(client: Client) -> Result<Connection, redis::RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_secs(1));
    let connection = ConnectionManager::new_lazy_with_config(client, config)?;
    Ok(Connection(Arc::new(connection)))
}
