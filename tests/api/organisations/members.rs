//! Members: their roles, who changes whom, and what removal leaves behind.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ORGANISATIONS, proof};
use crate::harness::{Answer, Session, TestApp};

impl Session {
    async fn members(&self, organisation: &str) -> Vec<Value> {
        let path = format!("{ORGANISATIONS}/{organisation}/members");
        let answer = self.get(&path).await;
        answer.assert_status(200);
        let items = answer.body["items"].as_array();
        items.expect("it is a list").clone()
    }

    async fn role_of(&self, organisation: &str, user_id: &str) -> Option<String> {
        let members = self.members(organisation).await;
        let member = members.iter().find(|it| it["user_id"] == user_id)?;
        member["role"].as_str().map(str::to_owned)
    }

    pub async fn set_role(&self, organisation: &str, user_id: &str, role: &str) -> Answer {
        let path = format!("{ORGANISATIONS}/{organisation}/members/{user_id}");
        self.patch(&path, json!({ "role": role })).await
    }

    pub async fn remove_member(&self, organisation: &str, user_id: &str) -> Answer {
        let path = format!("{ORGANISATIONS}/{organisation}/members/{user_id}");
        self.delete(&path, None).await
    }

    pub async fn leave(&self, organisation: &str) -> Answer {
        let path = format!("{ORGANISATIONS}/{organisation}/membership");
        self.delete(&path, None).await
    }

    pub async fn transfer(&self, organisation: &str, user_id: &str) -> Answer {
        let path = format!("{ORGANISATIONS}/{organisation}/transfer");
        let mut body = proof();
        body["user_id"] = json!(user_id);
        self.post(&path, body).await
    }
}

/// Holds that this is a refusal which names the permission.
#[track_caller]
fn assert_denied(answer: &Answer, permission: &str) {
    answer.assert_problem(403, "permission_denied");
    let detail = answer.body["detail"].as_str().expect("there is a detail");
    assert!(detail.contains(permission), "{detail}");
}

#[tokio::test]
async fn members_are_listed_page_by_page_in_the_order_in_which_they_joined() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    for name in ["bob", "cyd"] {
        app.clock.advance(std::time::Duration::from_secs(1));
        app.join(&ada, &acme, name, "member").await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{ORGANISATIONS}/acme/members?limit=1{cursor}");
        let page = ada.get(&path).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("it is a list");
        for member in items {
            seen.push((member["email"].clone(), member["role"].clone()));
        }
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected = [("ada", "owner"), ("bob", "member"), ("cyd", "member")];
    let expected = expected.map(|(name, role)| (json!(format!("{name}@example.com")), json!(role)));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn nobody_changes_who_may_do_more_or_grants_what_they_do_not_have() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "admin").await;
    let cyd = app.join(&ada, &acme, "cyd", "member").await;
    let [ada_id, bob_id, cyd_id] = [
        ada.user_id().await,
        bob.user_id().await,
        cyd.user_id().await,
    ];

    let own = "organisation:own";
    assert_denied(&bob.set_role(&acme, &ada_id, "member").await, own);
    assert_denied(&bob.set_role(&acme, &ada_id, "owner").await, own);
    assert_denied(&bob.set_role(&acme, &cyd_id, "owner").await, own);
    assert_denied(&bob.set_role(&acme, &bob_id, "owner").await, own);
    assert_denied(&bob.remove_member(&acme, &ada_id).await, own);
    assert_denied(&bob.transfer(&acme, &bob_id).await, own);
    let write = "members:write";
    assert_denied(&cyd.set_role(&acme, &cyd_id, "admin").await, write);
    assert_denied(&cyd.remove_member(&acme, &bob_id).await, write);
    assert_eq!(app.audited("member_role_changed").await, 0);
    assert_eq!(
        ada.role_of(&acme, &ada_id).await.as_deref(),
        Some("owner"),
        "nothing changed"
    );

    // An administrator changes other members, themselves downwards, and nobody who is none.
    bob.set_role(&acme, &cyd_id, "billing")
        .await
        .assert_status(200);
    let stranger = app.sign_in("dan").await;
    let unknown = bob
        .set_role(&acme, &stranger.user_id().await, "member")
        .await;
    unknown.assert_problem(404, "not_found");
    bob.set_role(&acme, &cyd_id, "king")
        .await
        .assert_field("role");
    bob.set_role(&acme, &bob_id, "read_only")
        .await
        .assert_status(200);
    assert_denied(&bob.set_role(&acme, &bob_id, "admin").await, write);
    assert_eq!(app.audited("member_role_changed").await, 2);
    let email = app.email_to("cyd@example.com").await;
    assert!(
        email.text.contains("Your role in ACME has changed"),
        "{}",
        email.text
    );
}

#[tokio::test]
async fn the_last_owner_neither_leaves_nor_is_demoted_or_removed() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "owner").await;
    let [ada_id, bob_id] = [ada.user_id().await, bob.user_id().await];
    bob.set_role(&acme, &ada_id, "admin")
        .await
        .assert_status(200);
    for refused in [
        bob.leave(&acme).await,
        bob.remove_member(&acme, &bob_id).await,
        bob.set_role(&acme, &bob_id, "admin").await,
    ] {
        refused.assert_problem(409, "last_owner");
    }
    assert_eq!(ada.role_of(&acme, &bob_id).await.as_deref(), Some("owner"));
    bob.set_role(&acme, &ada_id, "owner")
        .await
        .assert_status(200);
    bob.leave(&acme).await.assert_status(204);
    bob.leave(&acme).await.assert_problem(404, "not_found");
    assert_eq!(app.audited("member_left").await, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_organisation_is_transferred_to_a_member_with_the_password() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "read_only").await;
    let stranger = app.sign_in("cyd").await;
    let [ada_id, bob_id] = [ada.user_id().await, bob.user_id().await];

    let path = format!("{ORGANISATIONS}/{acme}/transfer");
    let body = json!({ "user_id": bob_id, "password": "not the password" });
    ada.post(&path, body).await.assert_field("password");
    let foreign = ada.transfer(&acme, &stranger.user_id().await).await;
    foreign.assert_problem(404, "not_found");
    assert_eq!(app.audited("ownership_transferred").await, 0);

    assert!(ada.transfer(&acme, &bob_id).await.status.is_success());
    let roles = [
        bob.role_of(&acme, &ada_id).await,
        bob.role_of(&acme, &bob_id).await,
    ];
    assert_eq!(roles, [Some("admin".to_owned()), Some("owner".to_owned())]);
    assert_eq!(app.audited("ownership_transferred").await, 1);
    assert_denied(&ada.transfer(&acme, &ada_id).await, "organisation:own");
    app.run_jobs().await;
    for name in ["ada", "bob"] {
        let email = app.email_to(&format!("{name}@example.com")).await;
        let text = &email.text;
        assert!(
            text.contains("bob@example.com is now the owner of ACME"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn keys_of_a_removed_member_stay_and_are_named_to_the_owners() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "admin").await;
    let own = bob.new_key(&["read"]).await;
    let mut body = proof();
    (body["name"], body["scopes"]) = (json!("Import"), json!(["usage:read"]));
    let keys = "/api/v1/api-keys";
    let made = bob.for_account(&acme, Method::POST, keys, Some(body)).await;
    made.assert_status(201);
    let key = made.body["key"].as_str().expect("it is text");
    app.run_jobs().await; // so that the emails about the keys are older

    let bob_id = bob.user_id().await;
    ada.remove_member(&acme, &bob_id).await.assert_status(204);
    assert_eq!(app.audited("member_removed").await, 1);
    let refused = bob.get_for(&acme, keys).await;
    refused.assert_problem(404, "not_found");
    let listed = ada.get_for(&acme, keys).await;
    listed.assert_status(200);
    let item = &listed.body["items"][0];
    assert_eq!(item["created_by"], bob_id);
    assert_eq!(item["creator_is_member"], false);
    let used = app
        .replica
        .call(Method::GET, "/api/v1/usage", Some(key), None);
    used.await.assert_status(200);
    assert!(own.opens(&app.replica).await, "the personal account stays");

    let email = app.email_to("ada@example.com").await;
    let (text, hint) = (&email.text, made.body["hint"].as_str());
    assert!(text.contains("bob@example.com is no longer"), "{text}");
    assert!(text.contains(hint.expect("it is text")), "{text}");
    assert!(!text.contains(own.secret()), "{text}");
    let email = app.email_to("bob@example.com").await;
    assert!(email.text.contains("You are no longer a member of ACME"));

    // Without keys the email says nothing of them.
    let cyd = app.join(&ada, &acme, "cyd", "member").await;
    cyd.leave(&acme).await.assert_status(204);
    let email = app.email_to("ada@example.com").await;
    assert!(!email.text.contains("API keys"), "{}", email.text);
}

#[tokio::test]
async fn the_email_about_a_deletion_names_the_day_of_the_purge() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    app.join(&ada, &acme, "bob", "owner").await;
    let path = format!("{ORGANISATIONS}/acme");
    ada.delete(&path, Some(proof())).await.assert_status(204);
    app.run_jobs().await;
    for name in ["ada", "bob"] {
        let email = app.email_to(&format!("{name}@example.com")).await;
        let text = &email.text;
        assert!(text.contains("restore it until 13 April 2026"), "{text}");
    }
}

#[tokio::test]
async fn owners_are_told_once_of_more_members_than_seats_and_nobody_is_removed() {
    let app = TestApp::with(&[("PLAN_FREE_SEATS", "2")]).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    app.join(&ada, &acme, "bob", "member").await;
    let id = groundwork::ids::AccountId(acme.parse().expect("it is an id"));
    let smaller = app.another_replica_with(&[("PLAN_FREE_SEATS", "1")]).await;
    let told = || {
        let messages = app.inbox.emails_to("ada@example.com");
        let about = messages
            .iter()
            .filter(|it| it.text.contains("more members than"));
        about.count()
    };
    for state in [&app.state, &smaller.state, &smaller.state] {
        let checked = groundwork::organisations::check_seats(state, id).await;
        checked.expect("it is checked");
        app.run_jobs().await;
    }
    assert_eq!(told(), 1, "once while the state lasts");
    assert_eq!(ada.members(&acme).await.len(), 2);
    for state in [&app.state, &smaller.state] {
        let checked = groundwork::organisations::check_seats(state, id).await;
        checked.expect("it is checked");
        app.run_jobs().await;
    }
    assert_eq!(told(), 2, "and again when it comes back");
}
