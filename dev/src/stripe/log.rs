//! Log of the calls that an account received.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call, without its credentials.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoggedRequest {
    /// `Request-Id` of the answer.
    pub id: String,
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Form body as a tree of strings.
    pub form: Value,
    /// Query as a tree of strings.
    pub query: Value,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `Stripe-Version`.
    pub version: Option<String>,
    /// Status of the answer; absent while the call executes and where the connection was cut.
    pub status: Option<u16>,
    /// The answer was replayed by its idempotency key.
    pub replayed: bool,
    /// The account's time at which the call began.
    pub at: i64,
}
