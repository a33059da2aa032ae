//! Pages as a browser meets them.

use serde_json::json;

use crate::support::Fake;

impl Fake {
    async fn page(&self, method: &str, path: &str, form: &str) -> (u16, String, String) {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let url = format!("{}{path}", self.stripe.url());
        let answer = client
            .request(method.parse().unwrap(), url)
            .body(form.to_owned())
            .send()
            .await
            .unwrap();
        let location = answer
            .headers()
            .get("location")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        (
            answer.status().as_u16(),
            location,
            answer.text().await.unwrap(),
        )
    }
}

#[tokio::test]
async fn a_checkout_page_takes_a_code_declines_and_pays() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let session = fake
        .checkout(&customer, "&allow_promotion_codes=true")
        .await;
    let id = session["id"].as_str().unwrap();
    let path = session["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&fake.stripe.url())
        .unwrap()
        .to_owned();
    let (status, _, html) = fake.page("GET", &path, "").await;
    assert_eq!(status, 200);
    for wanted in [
        "No money moves",
        "id=\"pay\"",
        "id=\"decline\"",
        "id=\"authenticate\"",
        "id=\"abandon\"",
        "id=\"promotion-code\"",
        "19.00 USD",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let (_, _, html) = fake
        .page("POST", &format!("{path}/code"), "code=wrong")
        .await;
    assert!(html.contains("This code is invalid."));
    let (_, _, html) = fake
        .page("POST", &format!("{path}/code"), "code=half")
        .await;
    assert!(html.contains("9.50 USD"));
    let (_, _, html) = fake.page("POST", &format!("{path}/decline"), "").await;
    assert!(html.contains("Your card was declined."));
    let (_, location, _) = fake.page("POST", &format!("{path}/abandon"), "").await;
    assert_eq!(location, "http://a/cancel");
    let (_, location, _) = fake.page("POST", &format!("{path}/authenticate"), "").await;
    let (_, _, html) = fake.page("GET", &location, "").await;
    assert!(html.contains("id=\"approve\"") && html.contains("id=\"fail\""));
    let (_, _, html) = fake.page("POST", &format!("{path}/fail"), "").await;
    assert!(html.contains("failed authentication"));
    assert_eq!(fake.status(id), "open");
    let (status, location, _) = fake.page("POST", &format!("{path}/approve"), "").await;
    assert_eq!((status, location), (303, format!("http://a/{id}")));
    let invoice = fake.account.objects("invoice").pop().unwrap();
    assert_eq!(
        (&invoice["subtotal"], &invoice["amount_paid"]),
        (&json!(1900), &json!(950))
    );
    let (_, _, html) = fake.page("GET", &path, "").await;
    assert!(html.contains("complete"));
}

#[tokio::test]
async fn the_first_page_says_that_no_money_moves() {
    let fake = Fake::start().await;
    let (status, _, html) = fake.page("GET", "/", "").await;
    assert_eq!(status, 200);
    assert!(html.contains("This is a fake Stripe. No money moves."));
}

#[tokio::test]
async fn an_invoice_is_authenticated_on_its_page() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_authenticationRequired").await;
    let id = fake.subscribe(&customer, "").await;
    let invoice = fake.account.objects("invoice").pop().unwrap();
    let path = format!("/i/{}", invoice["id"].as_str().unwrap());
    assert_eq!(
        invoice["hosted_invoice_url"],
        format!("{}{path}", fake.stripe.url())
    );
    let html = fake.page("GET", &path, "").await.2;
    let link = html
        .split("id=\"authenticate\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(
        fake.page("GET", link, "")
            .await
            .2
            .contains("id=\"approve\"")
    );
    fake.page("POST", &format!("{link}/approve"), "").await;
    assert_eq!(fake.status(&id), "active");
    assert!(fake.page("GET", &path, "").await.2.contains("paid"));
    let pdf = fake.page("GET", &format!("{path}/pdf"), "").await.2;
    assert!(pdf.starts_with("%PDF"));
}

#[tokio::test]
async fn a_portal_page_changes_the_plan_cancels_and_resumes() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    let form = format!("customer={customer}&return_url=http%3A%2F%2Fa%2Fback");
    let session = fake.post("/v1/billing_portal/sessions", &form).await.body;
    let path = session["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&fake.stripe.url())
        .unwrap()
        .to_owned();
    let (_, _, html) = fake.page("GET", &path, "").await;
    for wanted in [
        "id=\"cancel\"",
        "id=\"plan-price_year\"",
        "id=\"card-good\"",
        "id=\"card-failing\"",
        "id=\"return\" href=\"http://a/back\"",
    ] {
        assert!(html.contains(wanted), "{wanted} in {html}");
    }
    assert_eq!(
        fake.page("POST", &format!("{path}/cancel"), "").await.0,
        303
    );
    assert!(fake.account.object(&id).unwrap()["cancel_at"].is_i64());
    assert!(
        fake.page("GET", &path, "")
            .await
            .2
            .contains("id=\"resume\"")
    );
    fake.page("POST", &format!("{path}/resume"), "").await;
    assert!(fake.account.object(&id).unwrap()["cancel_at"].is_null());
    fake.page("POST", &format!("{path}/plan-price_year"), "")
        .await;
    let subscription = fake.account.object(&id).unwrap();
    assert_eq!(
        subscription["items"]["data"][0]["price"]["id"],
        "price_year"
    );
    let invoice = fake
        .account
        .object(subscription["latest_invoice"].as_str().unwrap())
        .unwrap();
    assert_eq!(
        (&invoice["status"], &invoice["amount_paid"]),
        (&json!("paid"), &json!(19000 - 1900))
    );
}

#[tokio::test]
async fn the_first_page_shows_objects_moves_the_clock_and_refunds() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    let (_, _, html) = fake.page("GET", "/", "").await;
    for wanted in ["No money moves", &id, &customer, "invoice.paid"] {
        assert!(html.contains(wanted), "{wanted} in {html}");
    }
    let account = fake.get("/v1/account").await.body;
    let account = account["id"].as_str().unwrap();
    let month = format!("/accounts/{account}/advance/month");
    let hour = format!("/accounts/{account}/advance/hour");
    for path in [&month, &hour] {
        assert_eq!(fake.page("POST", path, "").await.0, 303);
    }
    assert_eq!(fake.account.objects("invoice").len(), 2);

    let charge = fake.account.objects("charge")[0].clone();
    let charge = charge["id"].as_str().unwrap();
    fake.page("POST", &format!("/objects/{charge}/refund"), "")
        .await;
    assert_eq!(
        fake.account.object(charge).unwrap()["refunded"],
        json!(true)
    );
    let again = format!("/objects/{charge}/refund");
    let (status, _, html) = fake.page("POST", &again, "").await;
    assert_eq!(status, 400);
    assert!(html.contains("id=\"error\""), "{html}");
}
