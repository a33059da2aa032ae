//! The service behind proxies as people run them: `deploy/nginx/nginx.conf`, the settings that Debian
//! ships for nginx, and `HAProxy`. Where a proxy is not installed its tests are skipped.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::{CONFIGURATION, PEER, Proxy, STRANGER, World, exchange, program};

/// A request that ends its connection.
fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n")
}

fn status(reply: &str) -> &str {
    reply.get(9..12).unwrap_or("none")
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test]
async fn f40_slow_bodies_do_not_fill_the_disk_of_nginx_or_block_others() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world.serve(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let access = service.sign_in("ada").await.access;
    let proxy = Proxy::nginx(&nginx, &service).await;
    let batch = format!("authorization: Bearer {access}\r\ncontent-type: application/json\r\n");
    let mut slow = JoinSet::new();
    for _ in 0..40 {
        // Of 1 MB nearly all, and then nothing.
        let head = format!("{batch}content-length: 1000000\r\n");
        let start = request("POST /api/v1/events/batch", &head) + &" ".repeat(900_000);
        let port = proxy.port;
        slow.spawn(async move { exchange(PEER, port, &start).await });
    }
    // Others' bodies, above what is kept in nginx's memory.
    let body = format!("{{\"events\":[]{}}}", " ".repeat(200_000));
    for _ in 0..5 {
        let other = "x-forwarded-for: 198.51.100.7\r\n";
        let head = format!("{batch}{other}content-length: {}\r\n", body.len());
        let reply = proxy
            .raw(&(request("POST /api/v1/events/batch", &head) + &body))
            .await;
        assert_eq!(status(&reply), "422", "{reply}");
    }
    let logged = std::fs::metadata(proxy.directory.path().join("access.log"));
    let logged = logged.map_or(0, |meta| meta.len());
    let configured = std::fs::metadata(proxy.directory.path().join("proxy.conf"));
    let configured = configured.map_or(0, |meta| meta.len());
    let written = bytes_in(proxy.directory.path()) - logged - configured;
    assert!(written < 1_000, "nginx has written {written} bytes");
    while let Some(reply) = slow.join_next().await {
        let reply = reply.expect("nobody panics");
        // Its share of the service's memory is used up, or its time.
        assert!(["408", "503"].contains(&status(&reply)), "{reply}");
    }
    // What is too large is the service's to say, in its own way.
    let head = format!("{batch}content-length: 1500000\r\n");
    let reply = proxy
        .raw(&(request("POST /api/v1/events/batch", &head) + &" ".repeat(1_500_000)))
        .await;
    assert_eq!(status(&reply), "413", "{reply}");
    assert!(reply.contains("request_id"), "{reply}");
}

#[tokio::test]
async fn f40_nginx_does_not_log_the_token_of_a_link_that_unsubscribes() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world.serve(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let proxy = Proxy::nginx(&nginx, &service).await;
    for base in ["", "/base"] {
        let path = format!("{base}/unsubscribe/product_news.hunter2");
        let reply = proxy.raw(&request(&format!("GET {path}"), "")).await;
        assert_eq!(status(&reply), "404", "{reply}");
    }
    let log = proxy.directory.path().join("access.log");
    let log = std::fs::read_to_string(log).expect("it is there");
    for path in ["\"/unsubscribe/-\"", "\"/base/unsubscribe/-\""] {
        assert!(log.contains(path), "{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn f40_nginx_publishes_liveness_alone_and_within_a_limit() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world.serve(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let proxy = Proxy::nginx(&nginx, &service).await;
    for path in [
        "/health",
        "/health/",
        "/health/ready",
        "/health/metrics",
        "//health/ready",
        "/./health/ready",
        "/x/../health/ready",
        "/%68ealth/ready",
        "/health/ready?x",
        "/health/live/",
    ] {
        let reply = proxy.raw(&request(&format!("GET {path}"), "")).await;
        assert_eq!(status(&reply), "404", "{path}: {reply}");
        assert!(reply.contains("not_found"), "{path}: {reply}");
    }
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let reply = proxy.raw(&request("GET /health/live", "")).await;
        statuses.push(status(&reply).to_owned());
    }
    assert!(
        statuses[..10].iter().all(|status| status == "200"),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().any(|status| status == "429"),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn f40_nginx_redirects_plain_http_to_the_services_own_address_alone() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world
        .serve(&[
            ("PUBLIC_URL", "https://api.example.com"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ])
        .await;
    let proxy = Proxy::nginx(&nginx, &service).await;
    let ask = async |line: &str, host: &str| {
        let request = request(line, "").replace("host: 127.0.0.1", &format!("host: {host}"));
        proxy.raw(&request).await.to_lowercase()
    };
    for host in ["api.example.com", "API.example.com:80"] {
        let reply = ask("GET /docs?a=1", host).await;
        assert_eq!(status(&reply), "308", "{reply}");
        let location = "\r\nlocation: https://api.example.com/docs?a=1\r\n";
        assert!(reply.contains(location), "{reply}");
    }
    for host in [
        "evil.example",
        "api.example.com.evil.example",
        "127.0.0.1",
        "localhost",
    ] {
        let reply = ask("GET /docs", host).await;
        assert_eq!(status(&reply), "421", "{host}: {reply}");
        assert!(!reply.contains("\r\nlocation:"), "{host}: {reply}");
    }
    let reply = ask("POST /api/v1/auth/login", "api.example.com").await;
    assert_eq!(status(&reply), "403", "{reply}");
}

#[tokio::test]
async fn f40_nginx_passes_on_its_own_request_ids_and_counts_by_network() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world.serve(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    // The address of a client is what the test says, and the network that counts is in a header.
    let observed = CONFIGURATION.replacen(
        "http {\n",
        "http {\n  set_real_ip_from 127.0.0.1;\n  real_ip_header X-Test-Client;\n  \
         add_header X-Network $client_network always;\n  add_header X-Body $body_network always;\n",
        1,
    );
    let proxy = Proxy::nginx_by(&nginx, &service, &observed).await;
    let network = async |address: &str, line: &str, more: &str| {
        let headers = format!("x-test-client: {address}\r\n{more}");
        let reply = proxy.raw(&request(line, &headers)).await.to_lowercase();
        let header = |name: &str| {
            let rest = reply.split(&format!("\r\n{name}: ")).nth(1)?;
            rest.split("\r\n").next().map(str::to_owned)
        };
        (
            header("x-network"),
            header("x-body"),
            header("x-request-id"),
        )
    };
    for (address, wanted) in [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
        ("2001:db8:1:2::1", "2001:db8:1:2"),
        ("2001:db8:1::1", "2001:db8:1:0"),
        ("2001:db8:1:0:9:8:7:6", "2001:db8:1:0"),
        ("2001:db8::1", "2001:db8:0:0"),
        ("2001:db8::9:8:7:6", "2001:db8:0:0"),
        ("2001:0:0:5:1:2:3:4", "2001:0:0:5"),
        ("2001::1", "2001:0:0:0"),
        ("2001:0:0:0:9:8:7:6", "2001:0:0:0"),
    ] {
        let (found, body, _) = network(address, "GET /.well-known/jwks.json", "").await;
        assert_eq!(found.as_deref(), Some(wanted), "{address}");
        assert_eq!(body, None, "{address}: a request without a body is counted");
        let post = network(address, "POST /nowhere", "content-length: 0\r\n").await;
        assert_eq!(post.1.as_deref(), Some(wanted), "{address}");
    }
    for framing in ["content-length: 0\r\n", "content-length: 5\r\n"] {
        let body = if framing.contains('5') { "12345" } else { "" };
        let headers = format!("x-test-client: 203.0.113.9\r\n{framing}");
        let reply = proxy.raw(&(request("GET /nowhere", &headers) + body)).await;
        let counted = reply.to_lowercase().contains("\r\nx-body: 203.0.113.9\r\n");
        assert_eq!(counted, !body.is_empty(), "{reply}");
    }
    let claimed = "x-request-id: mine\r\n";
    let (_, _, id) = network("203.0.113.9", "GET /nowhere", claimed).await;
    assert!(
        id.is_some_and(|id| id.len() == 32),
        "nginx names the request"
    );
}

const DENIED: &[(&str, &str)] = &[
    ("TRUSTED_PROXIES", "127.0.0.1"),
    ("DENY_NETWORKS", "127.0.0.0/8"),
];

/// A denied client's own forwarding headers.
const EVASIONS: [&str; 6] = [
    "",
    "forwarded: for=198.51.100.1\r\n",
    "x-forwarded-for: 198.51.100.1\r\n",
    "x-real-ip: 198.51.100.1\r\nforwarded: for=198.51.100.1;proto=https\r\n",
    "x-forwarded-for: 198.51.100.1\r\nx-forwarded-for: unknown\r\n",
    "true-client-ip: 198.51.100.1\r\ncf-connecting-ip: 198.51.100.1\r\n",
];

#[tokio::test]
async fn f40_no_header_of_a_client_evades_a_deny_list_behind_debians_nginx() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    let world = World::new().await;
    let service = world.serve(DENIED).await;
    // Debian's /etc/nginx/proxy_params, in the place of our own headers.
    let params = "proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr; \
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
        proxy_set_header X-Forwarded-Proto $scheme;";
    let ours = CONFIGURATION.lines();
    let ours = ours.filter(|line| !line.trim_start().starts_with("proxy_set_header"));
    let configuration: Vec<_> = ours.collect();
    let configuration = configuration.join("\n").replacen(
        "proxy_http_version 1.1;",
        &format!("proxy_http_version 1.1; {params}"),
        1,
    );
    let proxy = Proxy::nginx_by(&nginx, &service, &configuration).await;
    for headers in EVASIONS {
        let request = request("GET /api/v1/pricing", headers);
        let reply = exchange(STRANGER, proxy.port, &request).await;
        assert_eq!(status(&reply), "403", "{headers}: {reply}");
    }
}

#[tokio::test]
async fn f40_no_header_of_a_client_evades_a_deny_list_behind_haproxy() {
    let Some(haproxy) = program("TEST_HAPROXY") else {
        return;
    };
    let world = World::new().await;
    for (header, option) in [
        ("x-forwarded-for", "forwardfor"),
        ("x-client", "forwardfor header X-Client"),
    ] {
        let service = world
            .serve(&[DENIED, &[("CLIENT_IP_HEADER", header)]].concat())
            .await;
        let upstream = service.port;
        let proxy = Proxy::start(&haproxy, &["-db", "-f"], |port, _| {
            format!(
                "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n \
                 timeout server 30s\n option {option}\n\
                 listen front\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{upstream}\n"
            )
        })
        .await;
        for headers in EVASIONS {
            let headers = format!("{headers}x-client: 198.51.100.1\r\n");
            let request = request("GET /api/v1/pricing", &headers);
            let reply = exchange(STRANGER, proxy.port, &request).await;
            assert_eq!(status(&reply), "403", "{headers}: {reply}");
        }
    }
}

#[tokio::test]
async fn f40_connections_between_nginx_and_the_service_outlive_a_pause() {
    let Some(nginx) = program("TEST_NGINX") else {
        return;
    };
    // nginx ends an idle connection first, or the service would under a request on its way.
    let seconds = |text: &str| -> u64 {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    let timeouts = ["blue", "green"].map(|side| {
        let upstream = CONFIGURATION.split(&format!("upstream {side} {{")).nth(1);
        let timeout = upstream.and_then(|text| text.split("keepalive_timeout ").nth(1));
        Duration::from_secs(seconds(timeout.expect("it has one")))
    });
    let world = World::new().await;
    let service = world.serve(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let default = groundwork::config::Config::read(&world.settings).expect("it is good");
    let own = default.http.idle_timeout;
    assert!(
        timeouts.iter().all(|timeout| *timeout < own),
        "{timeouts:?}"
    );
    assert!(own > Duration::from_mins(1), "balancers keep 60 s");
    let proxy = Proxy::nginx(&nginx, &service).await;
    let reply = proxy.raw(&request("GET /.well-known/jwks.json", "")).await;
    assert_eq!(status(&reply), "200", "{reply}");
}
