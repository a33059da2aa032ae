//! What is measured, and beside what.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use groundwork_dev::error::Doing as _;
use groundwork_dev::{Error, Result};
use serde_json::{Value, json};

use crate::argon;
use crate::load::{self, Reply, Round, Same, Script, request};
use crate::ours::{self, Ours};
use crate::report::{Figure, Finding, Promise, tell};
use crate::world::{CONNECTIONS, World, email, signer, wait_for};

/// Connections that sign in.
const SIGNING_IN: usize = 16;

/// Connections that read beside them.
const READING: usize = 4;

/// Rounds whose median counts.
const ROUNDS: usize = 3;

/// How long ours and the bare one are under load by turns, within a round: what else the machine does
/// comes and goes within seconds, and is to meet both.
const TURN: Duration = Duration::from_millis(500);

/// How long after its start a process is at rest.
const AT_REST_AFTER: Duration = Duration::from_secs(3);

/// Starts whose median counts.
const STARTS: usize = 10;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// From the start to readiness
    Start,
    /// `GET /health/live`
    Live,
    /// `GET /pricing`
    Pricing,
    /// `GET /users/me`
    Me,
    /// `POST /auth/refresh`
    Refresh,
    /// `POST /auth/login`, and reads beside it
    Login,
    /// At rest, and after sign-ins
    Memory,
    /// `POST /webhooks/stripe`, and `GET /users/me` beside it
    Webhook,
    /// `POST /payments`
    Payments,
    /// Reads of Stripe that events cost
    Reads,
    /// `POST /files/upload`
    Upload,
    /// `POST /files` and its completion
    Presigned,
}

impl Scenario {
    pub(crate) const ALL: [Self; 12] = [
        Self::Start,
        Self::Live,
        Self::Pricing,
        Self::Me,
        Self::Refresh,
        Self::Login,
        Self::Memory,
        Self::Webhook,
        Self::Payments,
        Self::Reads,
        Self::Upload,
        Self::Presigned,
    ];
}

/// A route of ours that needs no database, and the bare handler of as long a constant.
struct Constant {
    scenario: Scenario,
    what: &'static str,
    ours: &'static str,
    bare: &'static str,
    promise: Promise,
}

const CONSTANTS: [Constant; 2] = [
    Constant {
        scenario: Scenario::Live,
        what: "GET /health/live / a constant",
        ours: "/health/live",
        bare: "/static",
        promise: Promise::AtLeast(0.6),
    },
    Constant {
        scenario: Scenario::Pricing,
        what: "GET /pricing / a constant as long",
        ours: "/api/v1/pricing",
        bare: "/page",
        promise: Promise::None,
    },
];

impl World {
    pub(crate) async fn measure(
        &self,
        only: &[Scenario],
        seconds: u64,
        sign_ins: u32,
    ) -> Result<Vec<Finding>> {
        let length = Duration::from_secs(seconds);
        let mut findings = Vec::new();
        if only.contains(&Scenario::Start) {
            findings.push(self.cold_start().await?);
        }
        let (service, _) = self.setup.start().await?;
        if only.contains(&Scenario::Memory) {
            // At rest means after the start's own work: connections opened, queues looked at.
            tokio::time::sleep(AT_REST_AFTER).await;
            let at_rest = service.memory();
            findings.push(memory("memory at rest", at_rest, 30.0));
        }
        let mut tokens = Vec::new();
        for client in 0..CONNECTIONS {
            tokens.push(service.log_in(&email(client)).await?);
        }
        wait_for(self.bare_addr).await?;
        for constant in &CONSTANTS {
            if only.contains(&constant.scenario) {
                findings.push(self.constant(&service, constant, length).await?);
            }
        }
        if only.contains(&Scenario::Me) {
            findings.extend(self.accounts(&service, &tokens, length).await?);
        }
        if only.contains(&Scenario::Refresh) {
            findings.push(self.refreshes(&service, &tokens, length).await?);
        }
        if only.contains(&Scenario::Login) {
            findings.extend(sign_ins_beside_reads(&service, &tokens, length).await?);
        }
        if only.contains(&Scenario::Memory) {
            findings.push(memory_after(&service, sign_ins).await?);
        }
        service.stop().await;
        findings.extend(self.billing(only, &tokens, length).await?);
        findings.extend(self.files(only, &tokens, length).await?);
        Ok(findings)
    }

    async fn cold_start(&self) -> Result<Finding> {
        tell("cold starts");
        let mut took = Vec::new();
        for _ in 0..STARTS {
            let (service, ready) = self.setup.start().await?;
            took.push(ready.as_secs_f64() * 1e3);
            service.stop().await;
        }
        Ok(Finding {
            what: "cold start to ready",
            ours: Figure::Millis(median(took)),
            bare: None,
            promise: Promise::Below(100.0),
        })
    }

    /// A route that needs no database, beside a constant.
    async fn constant(
        &self,
        service: &Ours,
        constant: &Constant,
        length: Duration,
    ) -> Result<Finding> {
        let fixed = |path: &str| vec_of(|_| Same(request("GET", path, None, None)));
        let (ours, bare) = by_turns(
            constant.what,
            length,
            async |turn| load::run(service.addr, fixed(constant.ours), turn).await,
            async |turn| load::run(self.bare_addr, fixed(constant.bare), turn).await,
        )
        .await?;
        let finding = rates(constant.what, &ours, &bare, 0.0);
        Ok(Finding {
            promise: constant.promise,
            ..finding
        })
    }

    /// One's own account, beside the same row.
    async fn accounts(
        &self,
        service: &Ours,
        tokens: &[Value],
        length: Duration,
    ) -> Result<Vec<Finding>> {
        let bare_tokens = self.bare_access_tokens().await?;
        let ours_me = || {
            vec_of(|client| {
                Same(request(
                    "GET",
                    "/api/v1/users/me",
                    tokens[client]["access_token"].as_str(),
                    None,
                ))
            })
        };
        let bare_me =
            || vec_of(|client| Same(request("GET", "/me", Some(&bare_tokens[client]), None)));
        let (ours, bare) = by_turns(
            "GET /users/me",
            length,
            async |turn| load::run(service.addr, ours_me(), turn).await,
            async |turn| load::run(self.bare_addr, bare_me(), turn).await,
        )
        .await?;
        let half = median(ours.iter().map(Round::rate).collect()) / 2.0;
        let (ours_half, bare_half) = by_turns(
            "GET /users/me at half of that rate",
            length,
            async |turn| load::run_at(service.addr, ours_me(), turn, half).await,
            async |turn| load::run_at(self.bare_addr, bare_me(), turn, half).await,
        )
        .await?;
        let p99 = |rounds: &[Round]| Figure::Millis(median(rounds.iter().map(millis).collect()));
        Ok(vec![
            rates("GET /users/me / HS256 and the same row", &ours, &bare, 0.65),
            Finding {
                what: "GET /users/me at half its rate, p99 / the same",
                ours: p99(&ours_half),
                bare: Some(p99(&bare_half)),
                promise: Promise::AtMost(2.0),
            },
            Finding {
                what: "GET /users/me, p99 / the same",
                ours: p99(&ours),
                bare: Some(p99(&bare)),
                promise: Promise::AtMost(3.0),
            },
        ])
    }

    async fn refreshes(
        &self,
        service: &Ours,
        tokens: &[Value],
        length: Duration,
    ) -> Result<Finding> {
        let mut ours_next: Vec<String> = tokens.iter().map(refresh_token).collect();
        let mut bare_next = self.bare_refresh_tokens().await?;
        let (ours, bare) = by_turns(
            "POST /auth/refresh",
            length,
            async |turn| rotate(service.addr, "/api/v1/auth/refresh", &mut ours_next, turn).await,
            async |turn| rotate(self.bare_addr, "/rotate", &mut bare_next, turn).await,
        )
        .await?;
        Ok(rates(
            "POST /auth/refresh / one row updated in place",
            &ours,
            &bare,
            0.6,
        ))
    }
}

/// Rounds of two loads, each under load for `length` a round.
pub(crate) async fn by_turns(
    what: &str,
    length: Duration,
    mut ours: impl AsyncFnMut(Duration) -> io::Result<Round>,
    mut bare: impl AsyncFnMut(Duration) -> io::Result<Round>,
) -> Result<(Vec<Round>, Vec<Round>)> {
    tell(what);
    let (mut all_ours, mut all_bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut of_ours, mut of_bare) = (Round::default(), Round::default());
        let mut left = length;
        while !left.is_zero() {
            let turn = left.min(TURN);
            left -= turn;
            of_ours.add(ours(turn).await.doing(|| format!("load {what}"))?);
            let beside = bare(turn).await;
            of_bare.add(beside.doing(|| format!("load what stands beside {what}"))?);
        }
        all_ours.push(of_ours);
        all_bare.push(of_bare);
    }
    Ok((all_ours, all_bare))
}

/// Sign-ins as fast as they go, alone and with readers beside them, and the hash alone.
async fn sign_ins_beside_reads(
    service: &Ours,
    tokens: &[Value],
    length: Duration,
) -> Result<Vec<Finding>> {
    tell("POST /auth/login");
    let (mut ours, mut raw, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let log_in = load::run(service.addr, signing_in(), length);
        ours.push(log_in.await.doing(|| "load /auth/login".into())?);
        raw.push(
            tokio::task::spawn_blocking(move || argon::rate(length))
                .await
                .unwrap_or_default(),
        );
        let reader = |token: &Value| {
            let token = token["access_token"].as_str();
            Same(request("GET", "/api/v1/users/me", token, None))
        };
        let readers: Vec<_> = tokens.iter().take(READING).map(reader).collect();
        let (_, reads) = tokio::join!(
            load::run(service.addr, signing_in(), length),
            load::run(service.addr, readers, length),
        );
        beside.push(reads.doing(|| "read beside sign-ins".into())?);
    }
    let errors: usize = ours.iter().map(|round| round.errors).sum();
    let rate = median(ours.iter().map(Round::rate).collect());
    Ok(vec![
        Finding {
            what: "POST /auth/login / argon2id alone on all cores",
            ours: Figure::Rate(rate),
            bare: Some(Figure::Rate(median(raw))),
            promise: Promise::AtLeast(0.88),
        },
        Finding {
            what: "POST /auth/login, errors",
            #[expect(clippy::cast_precision_loss, reason = "there are few")]
            ours: Figure::Count(errors as f64),
            bare: None,
            promise: Promise::Below(0.0),
        },
        Finding {
            what: "GET /users/me beside 16 that sign in, p99",
            ours: Figure::Millis(median(beside.iter().map(millis).collect())),
            bare: None,
            promise: Promise::Below(20.0),
        },
    ])
}

async fn memory_after(service: &Ours, sign_ins: u32) -> Result<Finding> {
    tell("memory after sign-ins");
    let mut left = f64::from(sign_ins);
    while left > 0.0 {
        let length = Duration::from_secs(5);
        let round = load::run(service.addr, signing_in(), length).await;
        let rate = round.doing(|| "sign in".into())?.rate();
        if rate == 0.0 {
            return Err(Error::Other("nobody can sign in".into()));
        }
        left -= rate * length.as_secs_f64();
    }
    Ok(memory("memory after sign-ins", service.memory(), 120.0))
}

fn signing_in() -> Vec<SigningIn> {
    let script = |client| SigningIn {
        next: client,
        request: Vec::new(),
    };
    (0..SIGNING_IN).map(script).collect()
}

/// A client that signs in to one account after the other.
struct SigningIn {
    next: usize,
    request: Vec<u8>,
}

impl Script for SigningIn {
    fn next(&mut self, _: Option<&Reply>) -> &[u8] {
        let body = ours::sign_in(&signer(self.next));
        self.next += SIGNING_IN;
        self.request = request("POST", "/api/v1/auth/login", None, Some(&body));
        &self.request
    }
}

/// A client that goes on with its session again and again.
struct Rotating {
    path: &'static str,
    token: Arc<Mutex<String>>,
    request: Vec<u8>,
}

impl Script for Rotating {
    fn next(&mut self, last: Option<&Reply>) -> &[u8] {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = last {
            *token = refresh_token(&reply.json());
        }
        let body = json!({ "refresh_token": *token });
        self.request = request("POST", self.path, None, Some(&body));
        &self.request
    }
}

/// One round; `tokens` are those to go on with, before and after.
async fn rotate(
    addr: SocketAddr,
    path: &'static str,
    tokens: &mut [String],
    length: Duration,
) -> io::Result<Round> {
    let shared: Vec<_> = tokens
        .iter()
        .map(|token| Arc::new(Mutex::new(token.clone())))
        .collect();
    let scripts = shared.iter().map(|token| Rotating {
        path,
        token: token.clone(),
        request: Vec::new(),
    });
    let round = load::run(addr, scripts.collect(), length).await?;
    for (kept, token) in tokens.iter_mut().zip(shared) {
        kept.clone_from(&token.lock().unwrap_or_else(PoisonError::into_inner));
    }
    Ok(round)
}

fn refresh_token(reply: &Value) -> String {
    reply["refresh_token"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn vec_of<S>(script: impl Fn(usize) -> S) -> Vec<S> {
    (0..CONNECTIONS).map(script).collect()
}

pub(crate) fn rates(what: &'static str, ours: &[Round], bare: &[Round], least: f64) -> Finding {
    let errors: usize = ours.iter().chain(bare).map(|round| round.errors).sum();
    if errors > 0 {
        tell(&format!("  {errors} errors: {what}"));
    }
    let rate = |rounds: &[Round]| Figure::Rate(median(rounds.iter().map(Round::rate).collect()));
    Finding {
        what,
        ours: rate(ours),
        bare: Some(rate(bare)),
        promise: Promise::AtLeast(least),
    }
}

fn memory(what: &'static str, mebibytes: u64, most: f64) -> Finding {
    Finding {
        what,
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        ours: Figure::Mebibytes(mebibytes as f64),
        bare: None,
        promise: Promise::Below(most),
    }
}

pub(crate) fn millis(round: &Round) -> f64 {
    round.p99().as_secs_f64() * 1e3
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
