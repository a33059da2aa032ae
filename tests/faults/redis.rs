//! Redis is down, slow, frozen, empty, read-only or full. Readiness says `degraded`, limits are held
//! by the process, and a few requests wait until the timeout.

use std::time::Duration;

use groundwork_dev::{Fault, Proxy, Redis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Load, Service, World, fastest, is_fine, median, until};

/// Ten times the default, so that it differs from what a busy machine costs a request.
const TIMEOUT: (&str, &str) = ("REDIS_TIMEOUT", "500ms");

/// Half of the timeout: a request that takes less did not wait for Redis.
const COST: Duration = Duration::from_millis(250);

/// Replies that always come after the timeout.
const DELAY: Fault = Fault::Delay(Duration::from_secs(2));
const TRICKLE: Fault = Fault::Trickle(Duration::from_millis(200));

struct Trouble {
    world: World,
    redis: Redis,
    proxy: Proxy,
}

impl Trouble {
    async fn new() -> Self {
        let redis = Redis::throw_away().await.expect("it starts");
        let proxy = Proxy::start(port(&redis)).await.expect("it starts");
        Self {
            world: World::new().await,
            redis,
            proxy,
        }
    }

    async fn serve(&self) -> Service {
        let through = format!("redis://127.0.0.1:{}", self.proxy.port());
        self.world.serve(&[("REDIS_URL", &through), TIMEOUT]).await
    }
}

fn port(redis: &Redis) -> u16 {
    let url = redis.url();
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    port.expect("it has a port")
}

/// A command, as one types it.
pub async fn tell(redis: &Redis, command: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port(redis)))
        .await
        .expect("it answers");
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await
        .expect("it is sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"+OK\r\n", "{command}");
}

async fn says(service: &Service, wanted: &str) {
    until(&format!("readiness says {wanted}"), async || {
        let ready = service.get("/health/ready").await;
        // On a busy machine the database's check may be late; Redis fails no replica.
        let is_late = ready.body["database"] == "down";
        assert!(is_fine(&ready) || is_late, "{ready:?}");
        ready.body["status"] == wanted
    })
    .await;
}

/// Holds that requests go on as if nothing were.
async fn goes_on(service: &Service) {
    let access = service.sign_in("ada").await.access;
    serves(service, &access).await;
}

async fn serves(service: &Service, access: &str) {
    let (caller, access) = (service.caller.clone(), access.to_owned());
    let load = Load::start(4, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move { caller.me(&access).await }
    });
    until("requests flow", async || load.so_far().len() > 200).await;
    let outcomes = load.stop().await;
    assert!(outcomes.iter().all(is_fine), "{:?}", outcomes[0]);
    let half = median(&outcomes);
    assert!(half < COST, "half of the requests take {half:?}");
}

const PRICING: &str = "/api/v1/pricing";

/// Asks so often, one after the other; answers how many were let through, and the median duration.
async fn ask(service: &Service, times: usize) -> (usize, Duration) {
    let mut allowed = 0;
    let mut outcomes = Vec::with_capacity(times);
    for _ in 0..times {
        let outcome = service.get(PRICING).await;
        assert!([200, 429].contains(&outcome.status), "{outcome:?}");
        assert!(outcome.status == 200 || outcome.retry_after >= Some(1));
        allowed += usize::from(outcome.status == 200);
        outcomes.push(outcome);
    }
    (allowed, median(&outcomes))
}

#[tokio::test]
async fn f05_f06_limits_hold_while_redis_is_gone_slow_or_frozen_under_load() {
    let trouble = Trouble::new().await;
    for fault in [Fault::Refuse, Fault::Freeze, Fault::Blackhole, DELAY] {
        trouble.proxy.set(Fault::None);
        tell(&trouble.redis, "FLUSHALL").await;
        let through = format!("redis://127.0.0.1:{}", trouble.proxy.port());
        let settings = [
            ("REDIS_URL", through.as_str()),
            TIMEOUT,
            ("LIMIT_ANONYMOUS", "100/1h"),
            ("LIMIT_FAILURES_ACCOUNT", "5/15m"),
            ("LIMIT_FAILURES_CLIENT", "1000/15m"),
        ];
        let service = trouble.world.serve(&settings).await;
        says(&service, "ok").await;
        let name = format!("ada-{}", trouble.proxy.accepted());
        let tokens = service.sign_in(&name).await;
        let wrong = serde_json::json!({ "email": format!("{name}@example.com"), "password": "wrong horse battery staple" });
        let guess = async || {
            let path = "/api/v1/auth/login";
            service.post(path, wrong.clone()).await.status
        };
        assert_eq!(ask(&service, 40).await.0, 40);
        for _ in 0..3 {
            assert_eq!(guess().await, 401);
        }

        trouble.proxy.set(fault);
        let (caller, access) = (service.caller.clone(), tokens.access.clone());
        let load = Load::start(4, move |_, _| {
            let (caller, access) = (caller.clone(), access.clone());
            async move { caller.me(&access).await }
        });
        let (allowed, half) = ask(&service, 200).await;
        assert_eq!(allowed, 60, "{fault:?}: forty were spent before");
        assert!(half < COST, "{fault:?}: half take {half:?}");
        // Two failures are left of five: those before the fault are not forgotten.
        let guesses = [guess().await, guess().await, guess().await];
        assert_eq!(guesses, [401, 401, 429], "{fault:?}");
        let outcomes = load.stop().await;
        assert!(outcomes.iter().all(is_fine), "{fault:?}");

        trouble.proxy.set(Fault::None);
        until("limits are shared again", async || {
            service.me(&tokens.access).await;
            let written = service.written();
            let [away, back] = ["counting per process", "counting in Redis"];
            written
                .rfind(back)
                .is_some_and(|back| written.rfind(away).is_some_and(|away| back > away))
        })
        .await;
    }
}

#[tokio::test]
async fn f07_limits_hold_from_the_start_without_redis() {
    let trouble = Trouble::new().await;
    for fault in [Fault::Refuse, Fault::Blackhole] {
        trouble.proxy.set(fault);
        let through = format!("redis://127.0.0.1:{}", trouble.proxy.port());
        let settings = [
            ("REDIS_URL", through.as_str()),
            TIMEOUT,
            ("LIMIT_ANONYMOUS", "50/1h"),
        ];
        let service = trouble.world.serve(&settings).await;
        let (allowed, half) = ask(&service, 100).await;
        assert_eq!(allowed, 50, "{fault:?}");
        assert!(half < COST, "{fault:?}: half take {half:?}");
    }
}

#[tokio::test]
async fn f05_redis_down_degrades_readiness_alone_and_comes_back() {
    let trouble = Trouble::new().await;
    let service = trouble.serve().await;
    says(&service, "ok").await;
    trouble.proxy.set(Fault::Refuse);
    says(&service, "degraded").await;
    goes_on(&service).await;
    trouble.proxy.set(Fault::None);
    says(&service, "ok").await;
}

#[tokio::test]
async fn f06_redis_slow_or_frozen_degrades_readiness_alone() {
    let trouble = Trouble::new().await;
    let service = trouble.serve().await;
    says(&service, "ok").await;
    let access = service.sign_in("ada").await.access;
    for fault in [DELAY, Fault::Freeze, TRICKLE, Fault::Blackhole] {
        trouble.proxy.set(fault);
        says(&service, "degraded").await;
        let enough = Duration::from_millis(500);
        let took = fastest(enough, async || service.get("/health/ready").await.took).await;
        assert!(took < enough, "readiness takes {took:?}");
        serves(&service, &access).await;
        trouble.proxy.set(Fault::None);
        says(&service, "ok").await;
    }
}

#[tokio::test]
async fn f07_the_service_starts_without_redis_and_finds_it_later() {
    let trouble = Trouble::new().await;
    for fault in [Fault::Refuse, Fault::Blackhole] {
        trouble.proxy.set(fault);
        let service = trouble.serve().await;
        says(&service, "degraded").await;
        trouble.proxy.set(Fault::None);
        says(&service, "ok").await;
    }
}

#[tokio::test]
async fn f08_redis_that_forgets_refuses_writes_or_is_full_hurts_nobody() {
    let trouble = Trouble::new().await;
    let service = trouble.serve().await;
    let tokens = service.sign_in("ada").await;
    let leaving = service.sign_in("grace").await;
    let path = "/api/v1/auth/logout-all";
    let out = service
        .call(reqwest::Method::POST, path, Some(&leaving.access), None)
        .await;
    assert!(is_fine(&out), "{out:?}");
    for command in [
        "FLUSHALL",
        "REPLICAOF 127.0.0.1 1",
        "REPLICAOF NO ONE",
        "CONFIG SET maxmemory 1",
    ] {
        tell(&trouble.redis, command).await;
        serves(&service, &tokens.access).await;
        // Who signed out stays signed out.
        assert_eq!(service.me(&leaving.access).await.status, 401, "{command}");
        until("it is ready", async || {
            is_fine(&service.get("/health/ready").await)
        })
        .await;
    }
}
