//! `run`: the whole product on this machine, until it is told to stop.

use std::{
    net::Ipv4Addr,
    process::ExitCode,
    time::{Duration, Instant},
};

use groundwork_dev::{
    Error, Inbox, Postgres, Result, S3, Stripe,
    ports::{self, Reserved},
    process::{Server, Signal},
    redis,
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    foreground::Interrupts,
    home::{Home, Ports},
    login::{ADMIN, DEMO, Login},
    s3, say, seed, service, stripe,
};

const DATABASE: &str = "app";
const READY_LIMIT: Duration = Duration::from_mins(1);
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// `run`: starts everything, says where it is and serves until a signal or a failure.
pub(crate) async fn run() -> Result<ExitCode> {
    let began = Instant::now();
    let mut interrupts = Interrupts::listen()?;
    let home = Home::open()?;
    home.end_leftover_service();
    home.unpublish();

    let mut world = tokio::select! {
        started = World::start(&home) => started?,
        _ = interrupts.next() => return Ok(ExitCode::SUCCESS),
    };
    let urls = world.urls();
    home.publish(&urls)?;
    say(&urls.table(began.elapsed(), &world));

    let outcome = tokio::select! {
        error = world.death() => Err(error),
        _ = interrupts.next() => Ok(ExitCode::SUCCESS),
    };
    home.unpublish();
    tokio::select! {
        () = world.stop() => {}
        // Asked twice: the rest is dropped, which is quicker.
        _ = interrupts.next() => {}
    }
    outcome
}

/// Everything that runs. Fields are dropped in order: the service first, its database last.
struct World {
    service: Server,
    api: Reserved,
    /// None where the caller has an address of their own for metrics.
    metrics: Option<Reserved>,
    inbox: Inbox,
    redis_url: Option<String>,
    /// None where the caller's own key calls Stripe.
    stripe: Option<Stripe>,
    /// None where the caller has a store of their own.
    s3: Option<S3>,
    database: service::Database,
    postgres: Postgres,
}

impl World {
    async fn start(home: &Home) -> Result<Self> {
        let last = home.ports();
        let secrets =
            home.secrets(|| Ok(service::make_secrets()? + &stripe::make_webhook_secret()?))?;
        let (postgres, inbox, redis_url) = tokio::try_join!(
            Postgres::keep(home.path(), last.postgres),
            Inbox::start_friendly(last.smtp, last.inbox),
            async { Ok(find_redis().await) },
        )?;
        if postgres.is_new {
            home.forget_data()?;
        }
        postgres.ensure_database(DATABASE).await?;
        let api = ports::reserve(last.api, 8000)?;
        let metrics = if service::has_metrics_address() {
            None
        } else {
            Some(ports::reserve(last.metrics, 9090)?)
        };
        let stripe = if stripe::has_own_key() {
            None
        } else {
            let listener = ports::listen(last.stripe, stripe::FRIENDLY_PORT)?;
            let secret = stripe::webhook_secret(&secrets)?;
            Some(stripe::start(home, listener, api.port, secret).await?)
        };
        let s3 = if s3::has_own_store() {
            None
        } else {
            Some(s3::start(home, last.s3).await?)
        };
        home.keep_ports(&Ports {
            api: Some(api.port),
            metrics: metrics.as_ref().map(|it| it.port).or(last.metrics),
            inbox: Some(inbox.http_addr().port()),
            smtp: Some(inbox.smtp_addr().port()),
            postgres: Some(postgres.port()),
            stripe: stripe.as_ref().map(Stripe::port).or(last.stripe),
            s3: s3.as_ref().map(S3::port).or(last.s3),
        })?;

        let database = service::Database::new(&postgres, DATABASE);
        let mut settings = service::settings(&database, api.port, &inbox.smtp_url(), &secrets);
        settings.push((
            "START_PAGE_FILE".into(),
            home.urls_file().display().to_string(),
        ));
        if let Some(metrics) = &metrics {
            let address = format!("127.0.0.1:{}", metrics.port);
            settings.push(("METRICS_ADDR".into(), address));
        }
        if let Some(url) = &redis_url {
            settings.push(("REDIS_URL".into(), url.clone()));
        }
        match &stripe {
            Some(stripe) => settings.extend(stripe::settings(&stripe.url())),
            None => settings.retain(|(name, _)| name != stripe::WEBHOOK_SECRETS),
        }

        if let Some(s3) = &s3 {
            settings.extend(s3::settings(&s3.url(), s3::BUCKET));
            settings.extend(s3::copy_settings(&s3.url()));
        }

        let mut command = service::command(&["serve", "--migrate"])?;
        command.envs(settings.iter().cloned());
        let service = Server::start("the service", &mut command, Signal::TERM, None)?;
        home.note_service(service.id())?;
        let mut world = Self {
            service,
            api,
            metrics,
            inbox,
            redis_url,
            stripe,
            s3,
            database,
            postgres,
        };
        world.wait_until_ready().await?;
        if !home.is_seeded() {
            tokio::try_join!(DEMO.create(&settings), ADMIN.create(&settings))?;
            let [owner, admin] = [DEMO, ADMIN].map(|login| (login.email, login.password));
            seed::create_organisation(world.api.port, owner, admin).await?;
            seed::ask_for_summary(world.api.port, owner).await?;
            home.set_seeded(true)?;
        }
        Ok(world)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while !is_ready(self.api.port).await {
            self.service.check()?;
            if began.elapsed() > READY_LIMIT {
                return Err(self.service.unresponsive(READY_LIMIT.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until something ends that should not.
    async fn death(&mut self) -> Error {
        tokio::select! {
            error = self.service.death() => error,
            error = self.postgres.death() => error,
        }
    }

    async fn stop(mut self) {
        self.service.stop(DRAIN_LIMIT).await;
        self.postgres.stop().await;
    }

    fn urls(&self) -> Urls {
        let root = format!("http://127.0.0.1:{}", self.api.port);
        Urls {
            docs: format!("{root}/docs"),
            openapi: format!("{root}/api/openapi.json"),
            health: format!("{root}/health/ready"),
            root,
            inbox: self.inbox.http_url(),
            smtp: self.inbox.smtp_url(),
            database: self.database.owner_url.clone(),
            redis: self.redis_url.clone(),
            stripe: self.stripe.as_ref().map(|stripe| FakeStripe {
                url: stripe.url(),
                secret_key: stripe::SECRET_KEY,
            }),
            s3: self.s3.as_ref().map(S3::url),
            metrics: self
                .metrics
                .as_ref()
                .map(|it| format!("http://127.0.0.1:{}/health/metrics", it.port)),
            demo: DEMO,
            admin: ADMIN,
            organisation: Organisation {
                slug: seed::SLUG,
                name: seed::NAME,
            },
        }
    }
}

/// The Redis that the caller named, or one that is there anyway.
async fn find_redis() -> Option<String> {
    match std::env::var("REDIS_URL") {
        Ok(url) if !url.is_empty() => Some(url),
        _ => redis::local().await,
    }
}

async fn is_ready(port: u16) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let request = format!(
            "GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        (answer.split(' ').nth(1)? == "200").then_some(())
    };
    tokio::time::timeout(Duration::from_secs(2), exchange)
        .await
        .is_ok_and(|ready| ready.is_some())
}

/// The fake Stripe: its page, and the key of its API and control routes.
#[derive(Serialize)]
struct FakeStripe {
    url: String,
    secret_key: &'static str,
}

/// The organisation of the demo user.
#[derive(Serialize)]
struct Organisation {
    slug: &'static str,
    name: &'static str,
}

/// Where everything is. The start page of the service reads it.
#[derive(Serialize)]
struct Urls {
    root: String,
    docs: String,
    openapi: String,
    health: String,
    inbox: String,
    smtp: String,
    database: String,
    redis: Option<String>,
    stripe: Option<FakeStripe>,
    s3: Option<String>,
    metrics: Option<String>,
    demo: Login,
    admin: Login,
    organisation: Organisation,
}

impl Urls {
    fn table(&self, took: Duration, world: &World) -> String {
        let login = |login: &Login| format!("{}   {}", login.email, login.password);
        let redis = self
            .redis
            .as_deref()
            .unwrap_or("not used: REDIS_URL is not set and none is at 127.0.0.1:6379");
        let stripe = self.stripe.as_ref().map_or_else(
            || "called with your STRIPE_SECRET_KEY".to_owned(),
            |stripe| {
                format!(
                    "{}   fake: no money moves; promotion code {}",
                    stripe.url,
                    stripe::PROMOTION_CODE
                )
            },
        );
        let s3 = self.s3.as_ref().map_or_else(
            || "called with your STORAGE_BUCKET".to_owned(),
            |url| format!("{url}   bucket {}", s3::BUCKET),
        );
        let demo = login(&self.demo);
        let admin = login(&self.admin);
        let organisation = format!(
            "X-Account: {}   owner {}, admin {}, invited {}",
            seed::SLUG,
            self.demo.email,
            self.admin.email,
            seed::INVITED,
        );
        let start = format!("{}/", self.root);
        let metrics = self
            .metrics
            .as_deref()
            .unwrap_or("served at your METRICS_ADDR");
        let data = world.postgres.directory().display().to_string();
        let rows = [
            ("Start", start.as_str()),
            ("API", &self.root),
            ("Docs", &self.docs),
            ("OpenAPI", &self.openapi),
            ("Health", &self.health),
            ("Metrics", metrics),
            ("Inbox", &self.inbox),
            ("SMTP", &self.smtp),
            ("PostgreSQL", &self.database),
            ("Redis", redis),
            ("Stripe", &stripe),
            ("S3", &s3),
            ("Demo user", &demo),
            ("Admin", &admin),
            ("Acme", &organisation),
            ("Data", &data),
            ("Backups", "none; production has them: docs/backups.md"),
        ];
        let rows: Vec<String> = rows
            .iter()
            .map(|(name, value)| format!("  {name:<12}{value}\n"))
            .collect();
        format!(
            "\n  Ready in {:.1} s\n\n{}\n  Ctrl-C stops everything and keeps the data; `make clean-dev` forgets them.\n",
            took.as_secs_f64(),
            rows.concat()
        )
    }
}
