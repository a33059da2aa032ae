//! What each role permits: the document says which permission an operation needs, and the service agrees.

use groundwork::app;
use groundwork::roles::{AccountRole, Permission};
use reqwest::Method;
use serde_json::Value;

use crate::harness::TestApp;

const UNKNOWN: &str = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";

/// An operation that needs a permission, with its first example.
#[derive(Debug)]
struct Operation {
    method: Method,
    path: String,
    permission: String,
    body: Option<Value>,
}

fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("it has methods") {
            let Some(permission) = operation["x-permission"].as_str() else {
                continue;
            };
            let content = &operation["requestBody"]["content"]["application/json"];
            let several = content["examples"].as_object().into_iter().flatten();
            let several = several.map(|(_, example)| &example["value"]);
            found.push(Operation {
                method: method.to_uppercase().parse().expect("it is a method"),
                path: path.clone(),
                permission: permission.to_owned(),
                body: several.chain(content.get("example")).next().cloned(),
            });
        }
    }
    found
}

#[tokio::test]
async fn each_operation_needs_the_permission_that_the_document_names() {
    let app = TestApp::with(&[("PLAN_FREE_SEATS", "50"), ("PLAN_FREE_RATE", "100000")]).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let operations = operations();
    assert!(operations.len() >= 20, "{operations:?}");
    for role in ["admin", "member", "billing", "read_only"] {
        let session = app.join(&ada, &acme, &role.replace('_', "-"), role).await;
        let role: AccountRole = serde_json::from_value(role.into()).expect("it is a role");
        for operation in &operations {
            // It would end the membership of the test.
            if operation.path.ends_with("/membership") {
                continue;
            }
            let in_path = operation.path.contains("/organisations/");
            let path = operation
                .path
                .replace("{id}", if in_path { acme.as_str() } else { UNKNOWN });
            let path = path
                .replace("{name}", UNKNOWN)
                .replace("{user_id}", UNKNOWN)
                .replace("{invitation_id}", UNKNOWN);
            let (method, body) = (operation.method.clone(), operation.body.clone());
            let answer = session.for_account(&acme, method, &path, body).await;
            let mut known = Permission::ALL.iter();
            let known = known.find(|it| it.as_str() == operation.permission);
            if role.permissions().has(*known.expect("it is a permission")) {
                assert_ne!(
                    answer.body["code"], "permission_denied",
                    "{role} {operation:?}"
                );
            } else {
                answer.assert_problem(403, "permission_denied");
                let detail = answer.body["detail"].as_str().expect("it names one");
                assert!(detail.contains(&operation.permission), "{detail}");
            }
        }
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn every_operation_on_rows_of_an_account_names_a_permission() {
    let personal = [
        "/api/v1/auth/",
        "/api/v1/users/",
        "/api/v1/admin/",
        "/api/v1/invitations",
        "/api/v1/audit-log",
    ];
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("it has methods") {
            let ways = operation["security"].as_array();
            let is_public = ways.is_none_or(|ways| ways.contains(&serde_json::json!({})));
            let is_own = personal.iter().any(|prefix| path.starts_with(prefix))
                || path == "/api/v1/organisations"
                || path == "/api/v1/organisations/{id}/restore";
            let names_none = operation["x-permission"].is_null();
            assert_eq!(names_none, is_public || is_own, "{method} {path}");
        }
    }
}
