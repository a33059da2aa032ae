//! `stripe`: the fake Stripe by itself, and as part of `run`.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use groundwork_dev::{
    Error, Result, Stripe, StripeAccount,
    error::Doing,
    files,
    stripe::{Catalog, CatalogCode, CatalogPrice, CatalogProduct, Interval},
};
use url::Url;

use super::{foreground::Interrupts, home::Home, say};

/// Port that is tried first.
pub(super) const FRIENDLY_PORT: u16 = 12111;
pub(super) const SECRET_KEY: &str = "sk_test_development";
pub(super) const PROMOTION_CODE: &str = "WELCOME";
pub(super) const WEBHOOK_SECRETS: &str = "STRIPE_WEBHOOK_SECRETS";
const ENDPOINT: &str = "we_service";
const API_VERSION: &str = "2026-09-30.endive";
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a plan, and what the fake sells for it.
struct Plan {
    id: &'static str,
    name: &'static str,
    variable: &'static str,
    month: i64,
    year: i64,
}

const PLANS: [Plan; 2] = [
    Plan {
        id: "pro",
        name: "Pro",
        variable: "PLAN_PRO",
        month: 2900,
        year: 29_000,
    },
    Plan {
        id: "enterprise",
        name: "Enterprise",
        variable: "PLAN_ENTERPRISE",
        month: 29_900,
        year: 299_000,
    },
];

/// Options of `groundwork-dev stripe`.
#[derive(Args)]
pub(crate) struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// Address of the pages as browsers reach them; by default the one it listens on
    #[arg(long)]
    public_url: Option<Url>,
    /// Secret key of the account that sells the plans
    #[arg(long, default_value = SECRET_KEY)]
    secret_key: String,
    /// Address of the webhook endpoint, such as <http://127.0.0.1:8000/api/v1/webhooks/stripe>
    #[arg(long, requires = "webhook_secret")]
    webhook_url: Option<Url>,
    /// Signing secret of the events
    #[arg(long, requires = "webhook_url")]
    webhook_secret: Option<String>,
    /// Address at which the endpoint is reached from here, if it is another one
    #[arg(long, requires = "webhook_url")]
    forward_to: Option<Url>,
    /// File that keeps the accounts for the next run; without it they are forgotten
    #[arg(long)]
    data: Option<PathBuf>,
    /// Exits with 0 if one responds at the address, and starts none
    #[arg(long)]
    healthcheck: bool,
}

/// `stripe`: serves until a signal.
pub(crate) async fn stripe(options: Options) -> Result<ExitCode> {
    if options.healthcheck {
        let is_healthy = responds(options.listen);
        return Ok(if is_healthy {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let mut interrupts = Interrupts::listen()?;
    let listener =
        TcpListener::bind(options.listen).doing(|| format!("listen on {}", options.listen))?;
    let public_url = options.public_url.clone();
    let stripe = Stripe::serve(listener, public_url, options.data).await?;
    let account = stripe.account(&options.secret_key);
    let webhook = options.webhook_url.as_ref().map(Url::as_str);
    set_up(&account, webhook.zip(options.webhook_secret.as_deref()));
    if let Some(url) = &options.forward_to {
        account.forward(ENDPOINT, url.as_str());
    }
    account.resend_pending();
    let page = options
        .public_url
        .map_or_else(|| stripe.url(), String::from);
    say(&format!(
        "Fake Stripe, no money moves: {page}\nAPI: {}   secret key: {}\nCtrl-C ends it.",
        stripe.url(),
        options.secret_key
    ));
    interrupts.next().await;
    Ok(ExitCode::SUCCESS)
}

/// Starts the one of `run`, which sends its events to the service at a port.
pub(super) async fn start(
    home: &Home,
    listener: TcpListener,
    api_port: u16,
    webhook_secret: &str,
) -> Result<Stripe> {
    let stripe = Stripe::serve(listener, None, Some(home.stripe_file())).await?;
    let webhook = format!("http://127.0.0.1:{api_port}/api/v1/webhooks/stripe");
    let account = stripe.account(SECRET_KEY);
    set_up(&account, Some((&webhook, webhook_secret)));
    account.resend_pending();
    Ok(stripe)
}

/// Settings of a service that calls a fake at an address, without the webhook secret.
pub(super) fn settings(url: &str) -> Vec<(String, String)> {
    let mut settings = vec![
        ("STRIPE_SECRET_KEY".into(), SECRET_KEY.into()),
        ("STRIPE_API_URL".into(), url.into()),
    ];
    for plan in &PLANS {
        let name = |rest: &str| format!("{}_{rest}", plan.variable);
        settings.extend([
            (name("PRICE_ID"), price_id(plan, "month")),
            (name("YEAR_PRICE_ID"), price_id(plan, "year")),
            (name("YEAR_PRICE"), year_amount(plan).to_string()),
        ]);
    }
    settings
}

/// True if the caller's environment has a Stripe key.
pub(super) fn has_own_key() -> bool {
    env::var("STRIPE_SECRET_KEY").is_ok_and(|key| !key.is_empty())
}

/// A signing secret, as a line of `NAME=value`.
pub(super) fn make_webhook_secret() -> Result<String> {
    Ok(format!(
        "{WEBHOOK_SECRETS}=whsec_{}\n",
        files::random_hex(24)?
    ))
}

fn set_up(account: &StripeAccount, webhook: Option<(&str, &str)>) {
    let is_new = account.objects("promotion_code").is_empty();
    account.seed(&catalog(is_new));
    if let Some((url, secret)) = webhook {
        account.put_endpoint(ENDPOINT, url, secret, Some(API_VERSION), &["*"]);
    }
}

/// Catalogue of the prices in the settings. Amounts follow the caller's environment, which the service reads too.
fn catalog(with_codes: bool) -> Catalog {
    let currency = env::var("PLAN_CURRENCY").unwrap_or_default().to_lowercase();
    let currency = if currency.is_empty() {
        "usd".to_owned()
    } else {
        currency
    };
    let price = |plan: &Plan, interval: Interval, name: &str, amount: i64| CatalogPrice {
        id: price_id(plan, name),
        amount: Some(amount),
        amount_decimal: None,
        currency: currency.clone(),
        interval,
        active: true,
    };
    let products = PLANS.iter().map(|plan| {
        let month = amount(&format!("{}_PRICE", plan.variable), plan.month);
        CatalogProduct {
            id: format!("prod_{}", plan.id),
            name: plan.name.into(),
            prices: vec![
                price(plan, Interval::Month, "month", month),
                price(plan, Interval::Year, "year", year_amount(plan)),
            ],
        }
    });
    let welcome = CatalogCode {
        code: PROMOTION_CODE.into(),
        percent_off: Some(20.0),
        amount_off: None,
        currency: None,
        duration: "once".into(),
        duration_in_months: None,
    };
    Catalog {
        products: products.collect(),
        promotion_codes: with_codes.then_some(welcome).into_iter().collect(),
        meters: Vec::new(),
        portal: true,
    }
}

fn price_id(plan: &Plan, interval: &str) -> String {
    format!("price_{}_{interval}", plan.id)
}

fn year_amount(plan: &Plan) -> i64 {
    amount(&format!("{}_YEAR_PRICE", plan.variable), plan.year)
}

fn amount(variable: &str, default: i64) -> i64 {
    let text = env::var(variable).unwrap_or_default();
    text.parse().unwrap_or(default)
}

fn responds(address: SocketAddr) -> bool {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
        stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    exchange().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}

/// The webhook secret among lines of `NAME=value`.
pub(super) fn webhook_secret(secrets: &str) -> Result<&str> {
    secrets
        .lines()
        .find_map(|line| line.strip_prefix(WEBHOOK_SECRETS)?.strip_prefix('='))
        .ok_or_else(|| Error::Other(format!("{WEBHOOK_SECRETS} is not in .dev/secrets.env")))
}
