//! A page uploads a file straight to the store with the code that the documentation shows, and downloads it.

use serde_json::{Value, json};

use super::chromium::Browser;
use super::session::page;
use crate::harness::{PASSWORD, hex};
use crate::kit::files::{checksum, files_app_with, send, sha256};

/// The scripts of these pages, in one.
const SCRIPTS: &[&str] = &[
    include_str!("../../../docs/browser.md"),
    include_str!("../../../docs/files.md"),
];

/// The first block of JavaScript of each page. Statements that belong to no function are those of examples.
fn functions() -> String {
    let blocks = SCRIPTS.iter().map(|page| {
        let (_, after) = page.split_once("```js\n").expect("it has a script");
        after.split_once("```").expect("the script ends").0
    });
    let blocks: String = blocks.collect();
    let (functions, examples) = blocks
        .split_once("// Sign in.")
        .expect("the examples follow the functions");
    let (_, more) = examples
        .split_once("\nasync function upload")
        .expect("the function is there");
    format!("{functions}\nasync function upload{more}")
}

#[tokio::test]
async fn a_page_uploads_to_the_store_completes_and_downloads() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let listed = page().await;
    let origin = listed.origin().ascii_serialization();
    let it = files_app_with(&[("ALLOWED_ORIGINS", &origin)]).await;
    let email = it.app.sign_up("ada").await;
    let api = it.app.replica.root.join("api/v1").expect("it is a path");
    let functions = functions().replace("https://api.example.com/api/v1", api.as_str());
    let script = format!(
        "{functions}
        const [credentials, text] = given;
        csrf = (await (await call('POST', '/auth/login', credentials)).json()).csrf_token;
        const sent = [];
        const fetched = window.fetch;
        window.fetch = (url, options) => {{
            sent.push({{ url: String(url), headers: options.headers }});
            return fetched(url, options);
        }};
        const file = await upload(new File([text], 'größe \"1\".txt', {{ type: 'text/plain' }}));
        window.fetch = fetched;
        const link = document.createElement('a');
        link.href = api + `/files/${{file.id}}/content`;
        link.id = 'download';
        link.textContent = file.name;
        document.body.append(link);
        return {{ file, upload: sent[1] }};"
    );
    let text = "the first text";
    let credentials = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
    browser.open(listed).await;
    let done = browser.run(&script, vec![credentials, json!(text)]).await;
    assert_eq!(done["file"]["name"], "größe \"1\".txt", "{done}");
    assert_eq!(done["file"]["sha256"], hex(&sha256(text.as_bytes())));

    let (url, headers) = (&done["upload"]["url"], &done["upload"]["headers"]);
    let url = url.as_str().expect("it is text");
    assert!(url.starts_with(&it.s3.url()), "{url}");
    // The URL is valid and signed for these bytes alone: neither they nor others change the file.
    assert_eq!(send(url, headers, text.as_bytes()).await, 200);
    assert_eq!(send(url, headers, b"a second text!").await, 400);
    let mut other = headers.clone();
    other["x-amz-checksum-sha256"] = Value::from(checksum(b"a second text!"));
    assert_eq!(send(url, &other, b"a second text!").await, 403);

    browser.click("#download").await;
    let saved = browser.downloaded("größe _1_.txt").await;
    assert_eq!(saved, text.as_bytes());
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}
