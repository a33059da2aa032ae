//! Parts of all pages.

use std::fmt::{self, Write};

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};

use crate::stripe::error::StripeError;

// No `form-action`: browsers apply it to redirects after a form too, and the return URL is another origin.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1a1f36}\
    .notice{background:#fff3cd;border:2px solid #b58100;padding:.75rem 1rem;font-size:1.4rem;font-weight:700}\
    .error{background:#fde8e8;border:1px solid #b00020;padding:.5rem 1rem}\
    form{display:inline-block;margin:.25rem .5rem .25rem 0}button{font:inherit;padding:.5rem 1rem;cursor:pointer}\
    #pay{background:#0a6847;color:#fff;border:0}table{border-collapse:collapse}td,th{padding:.25rem .75rem;text-align:left}";

/// Text that is text wherever it stands in HTML, quoted attributes included.
pub(super) struct Escaped<'a>(pub(super) &'a str);

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

pub(super) fn page(title: &str, body: &str) -> Response {
    let title = Escaped(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · fake Stripe</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head><body><p class=\"notice\">This is a fake Stripe. No money moves.</p>\
         <h1>{title}</h1>{body}</body></html>"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(html)).into_response()
}

/// A form of one button.
pub(super) fn button(action: &str, id: &str, label: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{}\"><button id=\"{}\">{}</button></form>",
        Escaped(action),
        Escaped(id),
        Escaped(label)
    )
}

/// A link in a paragraph of its own.
pub(super) fn anchor(id: &str, url: &str, label: &str) -> String {
    format!(
        "<p><a id=\"{}\" href=\"{}\">{}</a></p>",
        Escaped(id),
        Escaped(url),
        Escaped(label)
    )
}

pub(super) fn error(message: &str) -> String {
    if message.is_empty() {
        return String::new();
    }
    format!(
        "<p class=\"error\" id=\"error\" role=\"alert\">{}</p>",
        Escaped(message)
    )
}

pub(super) fn message_of(error: &StripeError) -> String {
    error.fields()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn not_found() -> Response {
    let mut response = page(
        "Not found",
        "<p>There is no such page here. The fake forgets everything when it ends.</p>",
    );
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Sends a browser to an address that is http or https.
pub(super) fn redirect(url: &str) -> Response {
    if url.starts_with("http://") || url.starts_with("https://") || url.starts_with('/') {
        Redirect::to(url).into_response()
    } else {
        page("Done", "<p>You can close this page.</p>")
    }
}
