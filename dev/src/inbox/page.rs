//! The pages on which people read emails. An email is hostile until shown otherwise: every word
//! of it is escaped, and its HTML lives in a frame without scripts, forms or our origin.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{Mailbox, Message, Store, api::not_found};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const EMAIL_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
    style-src 'unsafe-inline'; img-src data: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(super) fn router() -> Router<Arc<Store>> {
    Router::new()
        .route("/", get(show_list))
        .route("/list", get(show_rows))
        .route("/message/{id}", get(show_email))
        .route("/message/{id}/html", get(show_html))
        .route(
            "/page.css",
            get(|| async { ([(header::CONTENT_TYPE, "text/css")], STYLE) }),
        )
        .route(
            "/page.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT) }),
        )
}

async fn show_list(State(store): State<Arc<Store>>) -> Response {
    let rows = rows(&store);
    page(
        "Inbox",
        &format!(
            "<header><h1>Inbox</h1><p>Messages that the service sends end here, and nowhere else.</p></header>\
             <main id=\"list\" aria-live=\"polite\" data-version=\"{}\">{rows}</main>",
            store.version()
        ),
    )
}

/// The list alone, for the script that looks for news; 204 as long as there are none.
async fn show_rows(State(store): State<Arc<Store>>, Query(seen): Query<Seen>) -> Response {
    let version = store.version();
    if seen.version == Some(version) {
        return StatusCode::NO_CONTENT.into_response();
    }
    ([("x-version", version.to_string())], Html(rows(&store))).into_response()
}

#[derive(serde::Deserialize)]
struct Seen {
    version: Option<i64>,
}

fn rows(store: &Store) -> String {
    let messages = store.list();
    if messages.is_empty() {
        return "<p class=\"empty\">No messages yet. This page shows them as they arrive.</p>"
            .into();
    }
    let rows: String = messages.iter().map(|message| row(message)).collect();
    format!("<ul class=\"messages\">{rows}</ul>")
}

fn row(message: &Message) -> String {
    format!(
        "<li><a href=\"/message/{id}\"><span class=\"to\">{to}</span><span class=\"subject\">{subject}</span>\
         <span class=\"snippet\">{snippet}</span>{time}</a></li>",
        id = Escaped(&message.id),
        to = Escaped(&message.recipients.join(", ")),
        subject = Escaped(subject(message)),
        snippet = Escaped(&message.snippet()),
        time = time(message),
    )
}

fn subject(message: &Message) -> &str {
    if message.subject.is_empty() {
        "(no subject)"
    } else {
        &message.subject
    }
}

fn time(message: &Message) -> String {
    let machine = message.received.to_rfc3339();
    format!(
        "<time datetime=\"{machine}\">{} UTC</time>",
        message.received.format("%Y-%m-%d %H:%M:%S")
    )
}

async fn show_email(State(store): State<Arc<Store>>, Path(id): Path<String>) -> Response {
    let Some(message) = store.find(&id) else {
        return not_found();
    };
    let id = Escaped(&message.id).to_string();
    let html = if message.html.is_empty() {
        String::new()
    } else {
        format!(
            "<section><h2>Message</h2><iframe title=\"The message\" \
             sandbox=\"allow-popups allow-popups-to-escape-sandbox\" referrerpolicy=\"no-referrer\" \
             src=\"/message/{id}/html\"></iframe></section>"
        )
    };
    let headers: Vec<String> = message.headers.iter().map(header_row).collect();
    page(
        subject(&message),
        &format!(
            "<header><p><a href=\"/\">← Inbox</a></p><h1>{subject}</h1>\
             <dl><dt>From</dt><dd>{from}</dd><dt>To</dt><dd>{to}</dd><dt>Arrived</dt><dd>{time}</dd></dl></header>\
             <main>{html}<section><h2>Text</h2><pre id=\"text\">{text}</pre></section>\
             <details><summary>Headers</summary><table>{headers}</table></details></main>",
            subject = Escaped(subject(&message)),
            from = Escaped(&written(std::slice::from_ref(&message.from))),
            to = Escaped(&if message.to.is_empty() {
                message.recipients.join(", ")
            } else {
                written(&message.to)
            }),
            time = time(&message),
            headers = headers.concat(),
            text = linked(&message.text),
        ),
    )
}

/// The email's own HTML, its links opening beside the inbox.
async fn show_html(State(store): State<Arc<Store>>, Path(id): Path<String>) -> Response {
    let Some(message) = store.find(&id) else {
        return not_found();
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, EMAIL_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(with_links_outside(&message.html))).into_response()
}

/// Puts a `<base>` where it counts and leaves the document in standards mode.
fn with_links_outside(html: &str) -> String {
    const BASE: &str = "<base target=\"_blank\">";
    let lower = html.to_ascii_lowercase();
    let head = lower.find("<head").filter(|at| {
        matches!(
            lower.as_bytes().get(at + 5),
            Some(b'>' | b' ' | b'\n' | b'\r')
        )
    });
    match head.and_then(|at| Some(at + lower[at..].find('>')? + 1)) {
        Some(at) => format!("{}{BASE}{}", &html[..at], &html[at..]),
        None => format!("<!doctype html>{BASE}{html}"),
    }
}

fn header_row((name, value): &(String, String)) -> String {
    format!(
        "<tr><th>{}</th><td>{}</td></tr>",
        Escaped(name),
        Escaped(value)
    )
}

fn written(mailboxes: &[Mailbox]) -> String {
    let one = |mailbox: &Mailbox| match mailbox.name.as_str() {
        "" => mailbox.address.clone(),
        name => format!("{name} <{}>", mailbox.address),
    };
    mailboxes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Escaped text in which web addresses are links.
fn linked(text: &str) -> String {
    let mut out = String::new();
    let breaks = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'');
    for word in text.split_inclusive(breaks) {
        let bare = word.trim_end_matches(breaks);
        if bare.starts_with("http://") || bare.starts_with("https://") {
            let href = Escaped(bare);
            let _ = write!(
                out,
                "<a href=\"{href}\" target=\"_blank\" rel=\"noopener noreferrer\">{href}</a>"
            );
            out.push_str(&Escaped(&word[bare.len()..]).to_string());
        } else {
            out.push_str(&Escaped(word).to_string());
        }
    }
    out
}

fn page(title: &str, body: &str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        header::HeaderValue::from_static(PAGE_POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        header::HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/page.css\"><link rel=\"icon\" href=\"data:,\">\
         <script src=\"/page.js\" defer></script></head><body>{body}</body></html>",
        Escaped(title)
    );
    (headers, Html(html)).into_response()
}

/// Text that is text wherever it stands in HTML, quoted attributes included.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
