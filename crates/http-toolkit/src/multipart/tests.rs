//! Forms in pieces of any size, slow, stalled, cut and too large.

use std::fmt::Write as _;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use clock::{Clock, Rng};
use futures_util::stream;
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::stack_test::{config, json};
use crate::{Deadline, RequestContextLayer};

const FORM: &str = "multipart/form-data; boundary=xx";

/// Replies with the name and the size of each part.
async fn list_parts(mut form: Multipart) -> Result<String, Problem> {
    let mut list = String::new();
    while let Some(mut part) = form.next().await? {
        if part.name() == "file" {
            form.allow(10 * 1024 * 1024);
        }
        let mut size = 0;
        while let Some(chunk) = part.chunk().await? {
            size += chunk.len();
        }
        write!(list, "{}={size};", part.name()).expect("a string takes it");
    }
    Ok(list)
}

fn app() -> Router {
    let mut config = config();
    config.request_timeout = Duration::from_secs(15);
    config.body_timeout = Duration::from_secs(10);
    let context = RequestContextLayer::new(&config, Clock::system(), Rng::system());
    let layers = ServiceBuilder::new()
        .layer(context)
        .layer(Deadline::new(&config));
    Router::new().route("/", post(list_parts)).layer(layers)
}

/// Sends a body whose chunks come this far apart.
async fn send(kind: &str, chunks: Vec<Vec<u8>>, apart: Duration) -> Response {
    let chunks = stream::unfold(chunks.into_iter(), move |mut rest| async move {
        let chunk = rest.next()?;
        sleep(apart).await;
        Some((Ok::<_, std::io::Error>(chunk), rest))
    });
    let request = Request::post("/").header(CONTENT_TYPE, kind);
    let request = request.body(Body::from_stream(chunks)).unwrap();
    app().oneshot(request).await.unwrap()
}

fn part(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("--xx\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

const END: &[u8] = b"--xx--\r\n";

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn parts_are_read_wherever_the_body_is_cut() {
    let data = b"\r\n--x\r\n--\r--xx\r\n--xy".as_slice();
    let body = [&part("a", b"")[..], &part("file", data), END].concat();
    for size in 1..body.len() {
        let chunks = body.chunks(size).map(<[u8]>::to_vec).collect();
        let response = send(FORM, chunks, Duration::ZERO).await;
        assert_eq!(text(response).await, format!("a=0;file={};", data.len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_has_no_deadline_and_a_stalled_client_has() {
    let chunk = vec![7; 64 * 1024];
    let head = part("file", b"");
    let head = head[..head.len() - 2].to_vec();
    let mut chunks = vec![[&head[..], &chunk].concat()];
    chunks.extend(vec![chunk.clone(); 99]);
    chunks.push([b"\r\n", END].concat());
    let begun = Instant::now();
    let response = send(FORM, chunks.clone(), Duration::from_secs(9)).await;
    assert_eq!(text(response).await, format!("file={};", 100 * chunk.len()));
    assert!(begun.elapsed() > Duration::from_mins(15));

    let stalled = send(FORM, chunks.clone(), Duration::from_secs(11)).await;
    assert_eq!(stalled.status(), StatusCode::REQUEST_TIMEOUT);
    let trickle = chunk.chunks(1024).map(<[u8]>::to_vec);
    let trickle = [head].into_iter().chain(trickle).collect();
    let begun = Instant::now();
    let trickle = send(FORM, trickle, Duration::from_secs(1)).await;
    assert_eq!(trickle.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_form_or_not_whole_is_refused() {
    let whole = [&part("a", b"1")[..], END].concat();
    let cut = part("a", b"1");
    let no_name = b"--xx\r\ncontent-type: text/plain\r\n\r\n1\r\n--xx--".to_vec();
    for (kind, body, code) in [
        ("application/json", &whole, "unsupported_media_type"),
        (
            "multipart/mixed; boundary=xx",
            &whole,
            "unsupported_media_type",
        ),
        ("multipart/form-data", &whole, "bad_request"),
        ("multipart/form-data; boundary=yy", &whole, "bad_request"),
        (FORM, &cut, "bad_request"),
        (FORM, &no_name, "bad_request"),
        (FORM, &Vec::new(), "bad_request"),
    ] {
        let response = send(kind, vec![body.clone()], Duration::ZERO).await;
        assert_eq!(json(response).await["code"], code, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_and_headers_have_a_limit_of_their_own() {
    let filler = vec![b'x'; 32 * 1024];
    let mut header = b"--xx\r\nx: ".to_vec();
    header.extend_from_slice(&filler);
    let many = (0..10_000).map(|_| part("a", b"1")).collect::<Vec<_>>();
    for chunks in [
        vec![part("a", &filler), part("a", &filler), part("a", &filler)],
        vec![header, filler.clone(), filler.clone()],
        vec![filler.clone(), filler.clone(), filler.clone()],
        many,
    ] {
        let response = send(FORM, chunks, Duration::ZERO).await;
        assert_eq!(json(response).await["code"], "payload_too_large");
    }
}
