//! Organisations: acting for them, their life, their members, and what each role permits.

mod acting;
mod admin;
mod api_keys;
mod lifecycle;
mod members;
mod permissions;
pub mod property;
pub mod races;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Session, TestApp};

pub const ORGANISATIONS: &str = "/api/v1/organisations";

impl Session {
    /// Creates an organisation with this slug; returns its id.
    pub async fn new_organisation(&self, slug: &str) -> String {
        let body = json!({ "name": slug.to_uppercase(), "slug": slug });
        let made = self.post(ORGANISATIONS, body).await;
        made.assert_status(201);
        made.body["id"].as_str().expect("an id").to_owned()
    }

    /// Invites this user into an organisation of somebody else, with this slug; returns the invitation's id.
    pub async fn invited_to(&self, slug: &str) -> String {
        let email = self.get("/api/v1/users/me").await.body["email"].clone();
        let app = self.replica.state.clone();
        let id = clock::uuid_v7(app.clock.now(), &app.rng);
        let account = clock::uuid_v7(app.clock.now(), &app.rng);
        let sql = "WITH a AS (
                 INSERT INTO accounts (id, kind, name, created_at, updated_at)
                 VALUES ($1, 'organisation', $2, now(), now())
             ), s AS (INSERT INTO account_slugs (slug, account_id) VALUES ($2, $1))
             INSERT INTO invitations (id, account_id, email, role, created_at, expires_at)
             VALUES ($3, $1, $4, 'member', $5, $5 + interval '7 days')";
        let mut tx = groundwork::scope::begin(
            &app.db,
            groundwork::scope::Scope::Exception(groundwork::scope::Exception::Job),
        )
        .await
        .expect("it begins");
        sqlx::query(sql)
            .bind(account)
            .bind(slug)
            .bind(id)
            .bind(email.as_str().expect("an address"))
            .bind(app.clock.now())
            .execute(&mut *tx)
            .await
            .expect("it is written");
        tx.commit().await.expect("it is committed");
        id.to_string()
    }

    /// A request with the header `X-Account`.
    pub async fn for_account(
        &self,
        account: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = self.replica.request(method.clone(), path);
        let mut request = request
            .bearer_auth(self.access())
            .header("x-account", account);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.replica.send(&method, path, request).await
    }

    pub async fn get_for(&self, account: &str, path: &str) -> Answer {
        self.for_account(account, Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str, body: Option<Value>) -> Answer {
        let token = Some(self.access());
        self.replica.call(Method::DELETE, path, token, body).await
    }

    pub async fn invite(&self, organisation: &str, email: &str, role: &str) -> Answer {
        let path = format!("{ORGANISATIONS}/{organisation}/invitations");
        self.post(&path, json!({ "email": email, "role": role }))
            .await
    }

    pub async fn accept(&self, invitation: &str) -> Answer {
        let body = json!({ "id": invitation });
        self.post("/api/v1/invitations/accept", body).await
    }
}

impl TestApp {
    /// A new user, whom `owner` makes a member of an organisation.
    pub async fn join(
        &self,
        owner: &Session,
        organisation: &str,
        name: &str,
        role: &str,
    ) -> Session {
        let session = self.sign_in(name).await;
        let invited = owner
            .invite(organisation, &format!("{name}@example.com"), role)
            .await;
        invited.assert_status(201);
        let id = invited.body["id"].as_str().expect("an id");
        session.accept(id).await.assert_status(200);
        self.run_jobs().await;
        session
    }
}

/// An id that nobody has.
const UNKNOWN: &str = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";

/// The path with this organisation in it; an id that is none of an organisation is `id`.
pub fn fill_path(path: &str, organisation: &str, id: &str) -> String {
    let own = if path.contains("/organisations/") {
        organisation
    } else {
        id
    };
    path.replace("{id}", own)
        .replace("{name}", id)
        .replace("{user_id}", UNKNOWN)
        .replace("{invitation_id}", UNKNOWN)
}

/// The body of a request that requires reauthentication.
pub fn proof() -> Value {
    json!({ "password": PASSWORD })
}
