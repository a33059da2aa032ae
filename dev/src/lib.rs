//! The outside world in a box: private servers that `make run` and the tests start for themselves.

// The objects of the fake Stripe are long `json!` literals.
#![recursion_limit = "512"]

pub mod error;
pub mod files;
pub mod packages;
pub mod ports;
pub mod process;

pub mod bad_release;
pub mod certificates;
pub mod clamd;
pub mod etcd;
pub mod haproxy;
pub mod inbox;
pub mod patroni;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod range_server;
pub mod redis;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod s3;
pub mod sentry_sink;
pub mod slice;
pub mod stripe;

pub use certificates::{LoopbackTls, TlsAcceptor};
pub use clamd::Clamd;
pub use error::{Error, Result};
pub use haproxy::{Balance, HttpProxy};
pub use inbox::Inbox;
pub use patroni::Patroni;
pub use postgres::Postgres;
pub use proxy::{Fault, Proxy};
pub use range_server::{Mood, RangeServer};
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use s3::{S3, S3Effect, S3Fault, S3Hang};
pub use sentry_sink::SentrySink;
pub use stripe::{Stripe, StripeAccount};
