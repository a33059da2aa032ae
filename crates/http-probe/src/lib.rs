//! HTTP requests of commands to one address, with the headers that a proxy in front of it sets, and a deadline.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use reqwest::redirect::Policy;
use serde_json::Value;
use url::Url;

/// Of a whole request. Replies are small.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The service did not reply in time, or not by HTTP.
#[derive(Debug, thiserror::Error)]
#[error("no reply to {path}")]
pub struct NoReply {
    path: String,
    #[source]
    source: reqwest::Error,
}

/// A reply. A body that is not JSON is `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// Client of one service. It follows no redirects and uses no proxy of the environment.
#[derive(Debug)]
pub struct Probe {
    client: reqwest::Client,
    root: Url,
    /// `Host`, where the service is behind a proxy that ends TLS.
    host: Option<String>,
}

impl Probe {
    /// A client of the service at `root`, of which scheme, host and port are used.
    pub fn new(root: Url) -> Result<Self, NoReply> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|source| NoReply {
                path: root.to_string(),
                source: source.without_url(),
            })?;
        Ok(Self {
            client,
            root,
            host: None,
        })
    }

    /// Sends `Host` and `X-Forwarded-Proto: https` as a proxy does that ends TLS for `host`.
    #[must_use]
    pub fn as_proxy_of(mut self, host: String) -> Self {
        self.host = Some(host);
        self
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<Reply, NoReply> {
        self.send(self.client.get(self.at(path)), path, token).await
    }

    pub async fn post(
        &self,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
    ) -> Result<Reply, NoReply> {
        let mut request = self.client.post(self.at(path));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json");
            request = request.body(body.to_string());
        }
        self.send(request, path, token).await
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(path);
        url
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
        path: &str,
        token: Option<&str>,
    ) -> Result<Reply, NoReply> {
        request = request.header(ACCEPT, "application/json");
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
            request = request.header("x-forwarded-proto", "https");
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let no_reply = |source: reqwest::Error| NoReply {
            path: path.to_owned(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(no_reply)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(no_reply)?;
        Ok(Reply {
            status,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}
