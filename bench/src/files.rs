//! Files: uploads through the service, and presigned ones that are started and completed, with the object store in this
//! process.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use groundwork_dev::s3::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use groundwork_dev::{Error, Result, S3};
use object_store::{AccessKey, ObjectStore, StorageConfig};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::load::{self, Reply, Round, Script, request};
use crate::report::{Finding, tell};
use crate::scenario::{Scenario, by_turns, rates};
use crate::world::World;

pub(crate) const BUCKET: &str = "bench";

/// Connections that upload.
const UPLOADING: usize = 4;

/// Connections that start and complete.
const COMPLETING: usize = 16;

const SIZE: usize = 8 * 1024 * 1024;

/// Bytes of a chunk that is sent to the store directly.
const CHUNK: usize = 32 * 1024;

const IMAGE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

/// A client of the store, as the service and the bare one have it.
pub(crate) fn store(url: &str) -> Result<ObjectStore> {
    let endpoint = url.parse().ok();
    let endpoint = endpoint.ok_or_else(|| Error::Other(format!("no address: {url}")))?;
    Ok(ObjectStore::new(&StorageConfig {
        role: object_store::StoreRole::Primary,
        bucket: BUCKET.to_owned(),
        endpoint: Some(endpoint),
        public_endpoint: None,
        region: REGION.to_owned(),
        access_key: Some(AccessKey {
            id: ACCESS_KEY_ID.to_owned(),
            secret: SECRET_ACCESS_KEY.into(),
        }),
        timeout: Duration::from_secs(4),
    }))
}

/// Sends the same form again and again. Shared, since it is large.
struct Uploading(Arc<Vec<u8>>);

impl Script for Uploading {
    fn next(&mut self, _: Option<&Reply>) -> &[u8] {
        &self.0
    }
}

fn form(token: Option<&str>) -> Vec<u8> {
    let token = token.unwrap_or_default();
    let filler = vec![7; SIZE - IMAGE.len()];
    let head = format!(
        "--xx\r\ncontent-disposition: form-data; name=\"size\"\r\n\r\n{SIZE}\r\n\
         --xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n"
    );
    let body = [head.as_bytes(), IMAGE, &filler, b"\r\n--xx--\r\n"].concat();
    let head = format!(
        "POST /api/v1/files/upload HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
         content-type: multipart/form-data; boundary=xx\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// Writes objects of the same size to the store.
async fn write_directly(store: &ObjectStore, length: Duration) -> io::Result<Round> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..UPLOADING {
        let store = store.clone();
        clients.spawn(async move {
            let (mut took, chunk) = (Vec::new(), Bytes::from(vec![7; CHUNK]));
            while began.elapsed() < length {
                let sent = Instant::now();
                let key = format!("files/direct-{client}");
                let mut put = store.begin_put(&key, SIZE as u64, "image/png");
                for _ in 0..SIZE / CHUNK {
                    put.send(chunk.clone()).await.map_err(io::Error::other)?;
                }
                put.finish().await.map_err(io::Error::other)?;
                took.push(sent.elapsed());
            }
            Ok::<_, io::Error>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = clients.join_next().await {
        took.extend(ended.map_err(io::Error::other)??);
    }
    Ok(Round::of(took, began.elapsed()))
}

/// Starts an upload, puts its bytes beside the API into the store, and completes it.
struct Completing {
    path: &'static str,
    token: Option<String>,
    account: usize,
    s3: Arc<S3>,
    request: Vec<u8>,
}

impl Script for Completing {
    fn next(&mut self, last: Option<&Reply>) -> &[u8] {
        let reply = last.map(Reply::json).unwrap_or_default();
        let token = self.token.as_deref();
        let url = reply["upload"]["url"].as_str();
        let key = url.and_then(|url| url.split_once("/bench/")?.1.split('?').next());
        self.request = if let (Some(key), Some(id)) = (key, reply["id"].as_str()) {
            self.s3.write(BUCKET, key, IMAGE);
            let path = format!("{}/{id}/complete", self.path);
            request("POST", &path, token, None)
        } else {
            let mut body = json!({ "name": "a.png", "size": IMAGE.len(), "content_type": "image/png",
                "sha256": sha256(IMAGE) });
            if token.is_none() {
                body["account"] = json!(self.account);
            }
            request("POST", self.path, token, Some(&body))
        };
        &self.request
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

impl World {
    /// Measures files on a process of their own.
    pub(crate) async fn files(
        &self,
        only: &[Scenario],
        tokens: &[Value],
        length: Duration,
    ) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if ![Scenario::Upload, Scenario::Presigned]
            .iter()
            .any(|it| only.contains(it))
        {
            return Ok(findings);
        }
        let (service, _) = self.setup.start_with(&["serve", "--no-worker"]).await?;
        let token = |client: usize| tokens[client]["access_token"].as_str();
        if only.contains(&Scenario::Upload) {
            let forms: Vec<_> = (0..UPLOADING).map(|it| Arc::new(form(token(it)))).collect();
            let scripts = || forms.iter().map(|form| Uploading(Arc::clone(form)));
            let store = store(&self.s3.url())?;
            let (ours, direct) = by_turns(
                "POST /files/upload, 8 MiB",
                length,
                async |turn| {
                    let round = load::run(service.addr, scripts().collect(), turn).await;
                    self.empty_bucket();
                    round
                },
                async |turn| write_directly(&store, turn).await,
            )
            .await?;
            let what = "POST /files/upload / the same bytes to the store";
            findings.push(rates(what, &ours, &direct, 0.7));
        }
        if only.contains(&Scenario::Presigned) {
            let scripts = |path, has_token: bool| {
                let script = |client| Completing {
                    path,
                    token: token(client).filter(|_| has_token).map(str::to_owned),
                    account: client,
                    s3: Arc::clone(&self.s3),
                    request: Vec::new(),
                };
                (0..COMPLETING).map(script).collect::<Vec<_>>()
            };
            let (ours, bare) = by_turns(
                "POST /files and its completion",
                length,
                async |turn| load::run(service.addr, scripts("/api/v1/files", true), turn).await,
                async |turn| load::run(self.bare_addr, scripts("/files", false), turn).await,
            )
            .await?;
            let what = "POST /files, completion / the same statements and calls";
            findings.push(rates(what, &ours, &bare, 0.5));
            self.empty_bucket();
        }
        service.stop().await;
        Ok(findings)
    }

    /// Removes all objects, since they fill the disk.
    fn empty_bucket(&self) {
        for key in self.s3.keys(BUCKET) {
            self.s3.remove(BUCKET, &key);
        }
    }
}

/// Starts the store.
pub(crate) async fn start_store() -> Result<Arc<S3>> {
    tell("starting the object store");
    let s3 = S3::throw_away().await;
    s3.ensure_bucket(BUCKET)?;
    Ok(Arc::new(s3))
}
