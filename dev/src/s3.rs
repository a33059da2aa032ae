//! An S3 server on the file system: s3s-fs, which verifies signatures, with CORS for browsers and faults on demand.

use std::{
    fs,
    future::pending,
    mem,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::task::JoinHandle;

use crate::{
    certificates::{LoopbackTls, TlsAcceptor, TlsListener},
    error::{Doing, Error, Result},
    files::Scratch,
};

mod faults;

pub use faults::{FULL, S3Effect, S3Fault, S3Hang};

/// Key of the one user, who may do everything.
pub const ACCESS_KEY_ID: &str = "development";
pub const SECRET_ACCESS_KEY: &str = "development-secret-key";
pub const REGION: &str = "us-east-1";

/// An object that is uploaded with a checksum, which is read into memory.
const MAX_UPLOAD: usize = 512 * 1024 * 1024;

/// File with the authority of a server over https.
const AUTHORITY: &str = "authority.pem";

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct S3 {
    scheme: &'static str,
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    scratch: Option<Scratch>,
}

#[derive(Debug)]
struct Shared {
    service: S3Service,
    directory: PathBuf,
    book: Mutex<Book>,
    /// Each call holds a clone.
    calls_in_progress: Arc<()>,
}

#[derive(Debug, Default)]
struct Book {
    faults: Vec<S3Fault>,
    hangs: Vec<S3Hang>,
    hanging: usize,
    calls: Vec<String>,
}

impl S3 {
    /// Starts one with its data in a temporary directory.
    ///
    /// # Panics
    /// When 127.0.0.1 has no free port left, or there is no temporary directory.
    pub async fn throw_away() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let scratch = Scratch::new(None).expect("a temporary directory");
        let directory = scratch.path().to_owned();
        Self::run(listener, directory, Some(scratch), None)
            .await
            .expect("a fresh listener serves")
    }

    /// The same over https.
    ///
    /// # Panics
    /// When 127.0.0.1 has no free port left, or there is no temporary directory.
    pub async fn throw_away_https() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let scratch = Scratch::new(None).expect("a temporary directory");
        let directory = scratch.path().join("buckets");
        let tls = LoopbackTls::issue();
        fs::write(scratch.path().join(AUTHORITY), &tls.authority).expect("it is written");
        Self::run(listener, directory, Some(scratch), Some(tls.acceptor))
            .await
            .expect("a fresh listener serves")
    }

    /// Serves a directory, which has a folder for each bucket.
    pub async fn serve(listener: TcpListener, directory: PathBuf) -> Result<Self> {
        Self::run(listener, directory, None, None).await
    }

    /// The same over https.
    pub async fn serve_https(
        listener: TcpListener,
        directory: PathBuf,
        tls: TlsAcceptor,
    ) -> Result<Self> {
        Self::run(listener, directory, None, Some(tls)).await
    }

    #[expect(
        clippy::unused_async,
        reason = "it registers with the runtime, so it needs one"
    )]
    async fn run(
        listener: TcpListener,
        directory: PathBuf,
        scratch: Option<Scratch>,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self> {
        let adopt = |listener: TcpListener| {
            fs::create_dir_all(&directory)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((tokio::net::TcpListener::from_std(listener)?, address))
        };
        let (listener, address) = adopt(listener).doing(|| "serve S3".into())?;
        let files = FileSystem::new(&directory)
            .map_err(|error| Error::Other(format!("could not serve S3: {error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let shared = Arc::new(Shared {
            service: builder.build(),
            directory,
            book: Mutex::default(),
            calls_in_progress: Arc::default(),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let scheme = if tls.is_some() { "https" } else { "http" };
        // Ends with the task alone.
        let task = tokio::spawn(async move {
            let served = match tls {
                Some(acceptor) => axum::serve(TlsListener::new(listener, acceptor), app).await,
                None => axum::serve(listener, app).await,
            };
            drop(served);
        });
        Ok(Self {
            scheme,
            address,
            shared,
            task,
            scratch,
        })
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// File with the certificate of its authority, of a server over https.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        let scratch = self.scratch.as_ref()?;
        Some(scratch.path().join(AUTHORITY)).filter(|_| self.scheme == "https")
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Creates a bucket unless it exists.
    pub fn ensure_bucket(&self, name: &str) -> Result<()> {
        let path = self.shared.directory.join(name);
        fs::create_dir_all(&path).doing_to("create", &path)
    }

    /// Keys of all objects of a bucket, in order.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let root = self.shared.directory.join(bucket);
        let mut keys = Vec::new();
        collect(&root, &root, &mut keys);
        keys.sort();
        keys
    }

    /// Bytes of an object.
    #[must_use]
    pub fn read(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        fs::read(self.shared.directory.join(bucket).join(key)).ok()
    }

    /// Puts an object beside the API, without a checksum.
    ///
    /// # Panics
    /// When the file system refuses it.
    pub fn write(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let path = self.shared.directory.join(bucket).join(key);
        let parent = path.parent().expect("it is below the bucket");
        fs::create_dir_all(parent).expect("the folder is created");
        fs::write(path, bytes).expect("the object is written");
    }

    /// Deletes an object beside the API.
    ///
    /// # Panics
    /// When the file system refuses it.
    pub fn remove(&self, bucket: &str, key: &str) {
        let path = self.shared.directory.join(bucket).join(key);
        fs::remove_file(path).expect("the object is deleted");
    }

    /// Makes every object of a bucket older.
    ///
    /// # Panics
    /// When the file system refuses it.
    pub fn age(&self, bucket: &str, by: Duration) {
        for key in self.keys(bucket) {
            let path = self.shared.directory.join(bucket).join(key);
            let file = fs::File::options().append(true).open(path);
            let time = SystemTime::now() - by;
            let aged = file.and_then(|file| file.set_modified(time));
            aged.expect("the time is set");
        }
    }

    /// Makes the next call that fits fail. Several are used in order.
    pub fn fault(&self, fault: S3Fault) {
        self.shared.with(|book| book.faults.push(fault));
    }

    /// Leaves the next call that fits without a response.
    pub fn hang(&self, hang: S3Hang) {
        self.shared.with(|book| book.hangs.push(hang));
    }

    /// Waits until a call has been left without a response.
    pub async fn until_hanging(&self) {
        while self.shared.with(|book| mem::take(&mut book.hanging)) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until there was a call with this in its method and path.
    pub async fn until_called(&self, part: &str) {
        while !self.calls().iter().any(|call| call.contains(part)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until no call is in progress, one whose client is gone included.
    pub async fn until_idle(&self) {
        while Arc::strong_count(&self.shared.calls_in_progress) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Method and path of each call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.with(|book| book.calls.clone())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn with<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R {
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn collect(root: &Path, directory: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, keys);
        } else if let Ok(key) = path.strip_prefix(root) {
            keys.push(key.to_string_lossy().into_owned());
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return with_cors(StatusCode::NO_CONTENT.into_response());
    }
    let _in_progress = Arc::clone(&shared.calls_in_progress);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let hang = shared.with(|book| {
        let fits = |it: &S3Hang| it.method == method && path.contains(&it.path);
        let place = book.hangs.iter().position(fits)?;
        Some(book.hangs.remove(place))
    });
    if let Some(hang) = hang {
        if hang.effect == S3Effect::Made {
            call(&shared.service, request).await;
        }
        shared.with(|book| book.hanging += 1);
        return pending().await;
    }
    let fault = shared.with(|book| {
        book.calls.push(format!("{method} {path}"));
        let fits = |it: &S3Fault| it.method == method && path.contains(&it.path);
        let place = book.faults.iter().position(fits)?;
        Some(book.faults.remove(place))
    });
    let response = match &fault {
        Some(fault) if fault.effect == S3Effect::None => StatusCode::OK.into_response(),
        _ if names_folder(&shared.directory, &request) => StatusCode::NOT_FOUND.into_response(),
        _ if faults::is_full(&shared.directory, &method) => faults::refuse_storage(),
        _ => call(&shared.service, request).await,
    };
    match fault {
        Some(fault) => fault.status.into_response(),
        None => with_cors(response),
    }
}

/// Returns true for a read of a folder's name, which is no object; s3s-fs fails on it.
fn names_folder(directory: &Path, request: &Request) -> bool {
    let path = request.uri().path().trim_matches('/');
    let is_read = matches!(request.method(), &Method::GET | &Method::HEAD);
    is_read && path.contains('/') && directory.join(path).is_dir()
}

async fn call(service: &S3Service, request: Request) -> Response {
    let request = match check_digest(request).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Refuses bytes that are not those of their checksum: s3s-fs compares it after the object is replaced.
async fn check_digest(request: Request) -> Result<Request, Response> {
    let wanted = text(request.headers(), "x-amz-checksum-sha256");
    let Some(wanted) = wanted.filter(|_| request.method() == Method::PUT) else {
        return Ok(request);
    };
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_UPLOAD)
        .await
        .map_err(|_| refusal("IncompleteBody"))?;
    let sum = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &bytes));
    if sum != wanted {
        return Err(refusal("BadDigest"));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn refusal(code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let kind = [(header::CONTENT_TYPE, "application/xml")];
    (StatusCode::BAD_REQUEST, kind, body).into_response()
}

/// The bucket's CORS rule, which every real store has to be given.
fn with_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PUT"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "content-type, x-amz-checksum-sha256",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
