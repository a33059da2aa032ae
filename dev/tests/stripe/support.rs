//! A fake with a small catalog, and calls over HTTP.

use std::time::Duration;

use axum::http::HeaderMap;
use groundwork_dev::stripe::{
    Catalog, CatalogCode, CatalogMeter, CatalogPrice, CatalogProduct, Interval, LoggedRequest,
    Stripe, StripeAccount,
};
use serde_json::Value;

pub(crate) const KEY: &str = "sk_test_ada";

pub(crate) struct Fake {
    pub(crate) stripe: Stripe,
    pub(crate) account: StripeAccount,
    pub(crate) client: reqwest::Client,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let stripe = Stripe::start().await;
        let account = stripe.account(KEY);
        account.seed(&catalog());
        Self {
            stripe,
            account,
            client: reqwest::Client::new(),
        }
    }

    /// Waits until the logged calls are as wanted.
    pub(crate) async fn wait_for(&self, are_wanted: impl Fn(&[LoggedRequest]) -> bool) {
        let wanted = async {
            while !are_wanted(&self.account.requests()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(10), wanted).await;
        result.expect("the calls are logged");
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        form: &str,
        key: Option<&str>,
    ) -> reqwest::Result<Reply> {
        let url = format!("{}{path}", self.stripe.url());
        let mut request = self
            .client
            .request(method.parse().unwrap(), url)
            .bearer_auth(KEY);
        if !form.is_empty() {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned());
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await?;
        Ok(Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(&answer.bytes().await?).unwrap_or_default(),
        })
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Reply {
        self.send("POST", path, form, None).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", None).await.unwrap()
    }

    pub(crate) async fn customer(&self) -> String {
        let made = self.post("/v1/customers", "email=ada%40example.com").await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    /// A customer with a card as the default.
    pub(crate) async fn customer_with(&self, card: &str) -> String {
        let id = self.customer().await;
        let attached = self
            .post(
                &format!("/v1/payment_methods/{card}/attach"),
                &format!("customer={id}"),
            )
            .await;
        assert_eq!(attached.status, 200, "{}", attached.body);
        let method = attached.body["id"].as_str().unwrap();
        let form = format!("invoice_settings[default_payment_method]={method}");
        assert_eq!(
            self.post(&format!("/v1/customers/{id}"), &form)
                .await
                .status,
            200
        );
        id
    }

    /// A subscription made by the API; returns its id.
    pub(crate) async fn subscribe(&self, customer: &str, more: &str) -> String {
        let form = format!("customer={customer}&items[0][price]=price_month{more}");
        let made = self.post("/v1/subscriptions", &form).await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.account.object(id).unwrap()["status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Types of the events so far, the oldest first.
    pub(crate) fn event_types(&self) -> Vec<String> {
        let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
        self.account.events().iter().map(kind).collect()
    }

    pub(crate) async fn checkout(&self, customer: &str, more: &str) -> Value {
        let form = format!(
            "mode=subscription&customer={customer}&line_items[0][price]=price_month&line_items[0][quantity]=1\
             &success_url=http%3A%2F%2Fa%2F%7BCHECKOUT_SESSION_ID%7D&cancel_url=http%3A%2F%2Fa%2Fcancel{more}"
        );
        let made = self.post("/v1/checkout/sessions", &form).await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body
    }
}

pub(crate) fn catalog() -> Catalog {
    let price = |id: &str, amount, interval| CatalogPrice {
        id: id.into(),
        amount: Some(amount),
        amount_decimal: None,
        currency: "usd".into(),
        interval,
        active: true,
    };
    Catalog {
        products: vec![CatalogProduct {
            id: "prod_pro".into(),
            name: "Pro".into(),
            prices: vec![
                price("price_month", 1900, Interval::Month),
                price("price_year", 19000, Interval::Year),
                price(
                    "price_usage",
                    2,
                    Interval::UsageMetered {
                        meter: "mtr_requests".into(),
                    },
                ),
            ],
        }],
        promotion_codes: vec![CatalogCode {
            code: "HALF".into(),
            percent_off: Some(50.0),
            amount_off: None,
            currency: None,
            duration: "once".into(),
            duration_in_months: None,
        }],
        meters: vec![CatalogMeter {
            id: "mtr_requests".into(),
            event_name: "requests".into(),
            formula: "last".into(),
            event_time_window: Some("hour".into()),
        }],
        portal: true,
    }
}
