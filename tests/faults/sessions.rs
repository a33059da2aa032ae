//! Sessions over an outage of PostgreSQL.

use std::time::{Duration, Instant};

use groundwork_dev::{Fault, Proxy};

use crate::harness::{World, is_fine, until};

const GRACE: Duration = Duration::from_secs(2);

/// The reply of its rotation was lost when the outage began, and the client can only try again when it is over.
#[tokio::test]
async fn f02_the_time_of_an_outage_does_not_count_towards_the_grace_of_a_used_refresh_token() {
    let world = World::new().await;
    let url = &world.settings["DATABASE_URL"];
    let port = url::Url::parse(url).expect("it is a URL").port();
    let proxy = Proxy::start(port.expect("it has a port")).await;
    let proxy = proxy.expect("the proxy starts");
    let through = proxy.through(url);
    let settings = [("DATABASE_URL", through.as_str()), ("REFRESH_GRACE", "2s")];
    let service = world.serve(&settings).await;
    let tokens = service.sign_in("ada").await;
    let lost = service.refresh(&tokens.refresh).await;
    assert!(is_fine(&lost), "{lost:?}");

    let begun = Instant::now();
    proxy.set(Fault::Freeze);
    until("the outage is longer than the grace", async || {
        let is_refused = service.refresh(&tokens.refresh).await.status == 503;
        is_refused && begun.elapsed() > 3 * GRACE
    })
    .await;
    proxy.set(Fault::None);
    let mut again = lost.clone();
    until("refresh tokens are accepted", async || {
        again = service.refresh(&tokens.refresh).await;
        again.status != 503
    })
    .await;
    let ended = Instant::now();
    assert!(is_fine(&again), "{again:?}");
    assert_eq!(again.body["refresh_token"], lost.body["refresh_token"]);

    // After it the grace is as long as before.
    until("the grace is over", async || ended.elapsed() > 2 * GRACE).await;
    assert_eq!(service.refresh(&tokens.refresh).await.status, 401);
    let current = again.body["refresh_token"].as_str().expect("it is a token");
    assert_eq!(service.refresh(current).await.status, 401, "it has ended");
}
