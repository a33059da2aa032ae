//! Forms with a file, sent in whole or byte by byte.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Answer, Session};

pub const UPLOAD: &str = "/api/v1/files/upload";
pub const FORM: &str = "multipart/form-data; boundary=xx";

/// Body of a form that is written part by part.
#[derive(Clone, Default)]
pub struct Form(Vec<u8>);

impl Form {
    /// Adds a field.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
    pub fn field(self, name: &str, value: impl ToString) -> Self {
        let head = format!("content-disposition: form-data; name=\"{name}\"");
        self.part(&head, value.to_string().as_bytes())
    }

    /// Adds a file with its name, and the media type that the client says.
    #[must_use]
    pub fn file(self, name: &str, content_type: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "content-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\ncontent-type: {content_type}"
        );
        self.part(&head, bytes)
    }

    #[must_use]
    pub fn part(mut self, head: &str, bytes: &[u8]) -> Self {
        let head = format!("--xx\r\n{head}\r\n\r\n");
        self.0.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        self
    }

    /// The whole body.
    pub fn end(self) -> Vec<u8> {
        [&self.0[..], b"--xx--\r\n"].concat()
    }

    /// The body up to its last byte but so many.
    pub fn cut(self, bytes: usize) -> Vec<u8> {
        let whole = self.end();
        whole[..whole.len() - bytes].to_vec()
    }

    /// A form with the fields of an object, as the document's example has them.
    pub fn of(example: &Value) -> Self {
        let fields = example.as_object().expect("it is an object");
        let (mut form, mut file) = (Self::default(), "");
        for (name, value) in fields {
            match value.as_str() {
                Some(bytes) if name == "file" => file = bytes,
                Some(text) => form = form.field(name, text),
                None => form = form.field(name, value),
            }
        }
        form.file("a.csv", "text/csv", file.as_bytes())
    }
}

/// A form with a PNG and its size.
pub fn image(bytes: &[u8]) -> Form {
    let form = Form::default().field("size", bytes.len());
    form.file("a.png", "image/png", bytes)
}

impl Session {
    /// Uploads a form through the service.
    pub async fn send_form(&self, body: Vec<u8>) -> Answer {
        self.send_form_as(FORM, body).await
    }

    pub async fn send_form_as(&self, kind: &str, body: Vec<u8>) -> Answer {
        let request = self.replica.request(Method::POST, UPLOAD);
        let request = request.bearer_auth(self.access());
        let request = request.header("content-type", kind).body(body);
        self.replica.send(&Method::POST, UPLOAD, request).await
    }

    /// Sends the head of a request with a form of `length` bytes.
    pub async fn begin_form(&self, length: usize) -> OpenForm {
        OpenForm::at(self.replica.root.authority(), self.access(), length).await
    }
}

/// A form that is being sent.
pub struct OpenForm(TcpStream);

impl OpenForm {
    /// Sends the head to an address: host and port.
    pub async fn at(address: &str, token: &str, length: usize) -> Self {
        let stream = TcpStream::connect(address).await;
        let mut form = Self(stream.expect("it listens"));
        let head = format!(
            "POST {UPLOAD} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
             content-type: {FORM}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        form.send(head.as_bytes()).await;
        form
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("it is read");
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The status and the body of the response.
    pub async fn response(mut self) -> (u16, Value) {
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_mins(1), self.0.read_to_end(&mut bytes));
        let read = read.await.expect("it responds");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(read.is_ok() || !text.is_empty(), "{read:?}");
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body = serde_json::from_str(body).unwrap_or_default();
        (status.expect("it has a status"), body)
    }
}
