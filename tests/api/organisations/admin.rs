//! Organisations, as administrators see them.

use serde_json::json;

use super::{ORGANISATIONS, proof};
use crate::harness::TestApp;

const ADMIN: &str = "/api/v1/admin/organisations";

#[tokio::test]
async fn administrators_find_organisations_by_name_and_slug_and_see_members_and_plan() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    app.clock.advance(std::time::Duration::from_secs(1));
    let other = ada.new_organisation("zeta").await;
    app.join(&ada, &acme, "bob", "billing").await;
    let changes = json!({ "name": "Rocket Works", "slug": "rockets" });
    let path = format!("{ORGANISATIONS}/acme");
    ada.patch(&path, changes).await.assert_status(200);

    let root = app.sign_in_admin("root").await;
    let found = async |query: &str| {
        let answer = root.get(&format!("{ADMIN}{query}")).await;
        answer.assert_status(200);
        let items = answer.body["items"].as_array().expect("it is a list");
        let ids = items.iter().map(|it| it["id"].as_str().expect("an id"));
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("").await, [other.clone(), acme.clone()]);
    // By the beginning of the name, of the slug and of a former slug.
    for search in ["ROCKET%20w", "rockets", "acm"] {
        let query = format!("?search={search}");
        assert_eq!(found(&query).await, std::slice::from_ref(&acme), "{search}");
    }
    for search in ["works", "nobody", "%25"] {
        assert!(found(&format!("?search={search}")).await.is_empty());
    }
    let first = root.get(&format!("{ADMIN}?limit=1")).await;
    let cursor = first.body["next_cursor"].as_str().expect("there is more");
    let second = found(&format!("?limit=1&cursor={cursor}")).await;
    assert_eq!(second, std::slice::from_ref(&acme));

    let one = root.get(&format!("{ADMIN}/{acme}")).await;
    one.assert_status(200);
    let plan = [&one.body["plan"], &one.body["seats"], &one.body["members"]];
    assert_eq!(plan, [&json!("free"), &json!(5), &json!(2)]);
    assert_eq!(one.body["slug"], "rockets");
    let members = root.get(&format!("{ADMIN}/{acme}/members")).await;
    members.assert_status(200);
    let roles = members.body["items"].as_array().expect("it is a list");
    let roles: Vec<_> = roles.iter().map(|it| &it["role"]).collect();
    assert_eq!(roles, ["owner", "billing"]);
    assert_eq!(app.audited("organisations_read").await, 11);

    // Deleted ones are listed; a personal account is no organisation.
    let path = format!("{ORGANISATIONS}/zeta");
    ada.delete(&path, Some(proof())).await.assert_status(204);
    let gone = root.get(&format!("{ADMIN}/{other}")).await;
    assert!(gone.body["deleted_at"].is_string(), "{}", gone.body);
    for path in ["", "/members"] {
        let personal = format!("{ADMIN}/{}{path}", ada.user_id().await);
        root.get(&personal).await.assert_problem(404, "not_found");
        ada.get(&format!("{ADMIN}/{acme}{path}"))
            .await
            .assert_problem(403, "forbidden");
    }
    app.run_jobs().await;
}
