//! The start page in a real browser: charts, a failed job and its retry, light and dark, on a phone.

use groundwork_dev::files::Scratch;
use groundwork_dev::ports;
use serde_json::{Value, json};

use super::chromium::Browser;
use crate::harness::TestApp;
use crate::start_page::add_job;

#[tokio::test]
async fn the_start_page_shows_where_everything_is_and_retries_a_failed_job() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let folder = Scratch::new(None).expect("a directory is made");
    let file = folder.path().join("urls.json");
    let links = json!({
        "inbox": "http://127.0.0.1:8025",
        "stripe": { "url": "javascript:alert(1)" },
        "demo": { "email": "demo@example.com", "password": "it's mine" },
    });
    std::fs::write(&file, links.to_string()).expect("it is written");
    let address = format!("127.0.0.1:{}", ports::any().expect("a port is free").port);
    let app = TestApp::with(&[
        ("BIND_ADDR", &address),
        ("PUBLIC_URL", &format!("http://{address}")),
        ("START_PAGE_FILE", &file.display().to_string()),
    ])
    .await;
    groundwork::metrics::start("test", None).expect("it records");
    let hostile = "now() - interval '1 hour', 18, 18, '<b>no</b><script>alert(1)</script>', NULL";
    let id = add_job(&app, hostile).await;

    browser.open(app.replica.root.clone()).await;
    let contains = |part: &'static str| move |text: &str| text.contains(part);
    browser.read("#state", |text| text == "OK").await;
    browser.read("#health", contains("PostgreSQL")).await;
    browser.read("#logins", contains("demo@example.com")).await;
    browser.read("#curl", contains("it'\\''s mine")).await;
    assert!(
        browser.has("#inbox a[href='http://127.0.0.1:8025/']").await
            || browser.has("#inbox a[href='http://127.0.0.1:8025']").await
    );
    assert!(
        browser.has("#stripe[hidden]").await,
        "no address of the web"
    );

    // Two readings make a line. Of requests that came between them, the rate and the time are known.
    browser.see("#chart-pool path.s1[d*='L']").await;
    for _ in 0..20 {
        app.get("/api/v1/pricing").await.assert_status(200);
    }
    let is_positive = |text: &str| text.starts_with(|first: char| ('1'..='9').contains(&first));
    let peak = |chart: &str| format!("#{chart} tbody tr:first-child td:last-child");
    browser.read(&peak("chart-responses"), is_positive).await;
    browser.read(&peak("chart-latency"), contains("s")).await;
    browser.see("#chart-latency path[d^='M']").await;
    browser.see("#chart-queue path.s3[d*='L']").await;

    browser
        .read("#jobs pre", contains("<b>no</b><script>alert(1)</script>"))
        .await;
    assert!(!browser.has("#jobs b").await && !browser.has("#jobs script").await);
    assert!(!browser.has("#jobs-message:not(:empty)").await);
    browser.picture("start-page").await;
    browser.prefer_dark().await;
    let colour = "return getComputedStyle(document.body).backgroundColor;";
    assert_eq!(browser.run(colour, vec![]).await, "rgb(21, 23, 26)");
    browser.picture("start-page-dark").await;
    browser.resize(360, 800).await;
    let width = "return [document.documentElement.scrollWidth, window.innerWidth];";
    assert_eq!(browser.run(width, vec![]).await, json!([360, 360]));
    browser.picture("start-page-phone").await;

    browser.click(&format!("[data-job='{id}'] button")).await;
    browser.read("#jobs-message", contains("is due now")).await;
    browser.read("#count-waiting", |text| text == "1").await;
    app.run_jobs().await;
    browser
        .read("#no-jobs", contains("No job has failed"))
        .await;
    assert!(!browser.has("#jobs li").await);

    // An element without a name would be silent to a screen reader.
    let unnamed = "return [...document.querySelectorAll('a[href], button, [role=img], pre[tabindex]')]
        .filter(it => !it.closest('[hidden]') && !(it.textContent.trim() || it.getAttribute('aria-label'))).length;";
    assert_eq!(browser.run(unnamed, vec![]).await, Value::from(0));
    assert_eq!(browser.complaints().await, [""; 0]);
    let requests = browser.requests().await;
    let strangers = requests
        .iter()
        .filter(|url| url.origin() != app.replica.root.origin());
    assert_eq!(strangers.count(), 0, "{requests:?}");
    browser.close().await;
}
