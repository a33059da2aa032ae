//! Invitations to organisations: who may invite whom, what makes one valid, and what nobody learns.

mod races;
mod validity;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Session, TestApp};

const ACCEPT: &str = "/api/v1/invitations/accept";
const DECLINE: &str = "/api/v1/invitations/decline";
const PREVIEW: &str = "/api/v1/invitations/preview";
const OWN: &str = "/api/v1/invitations";

/// An organisation with its owner, who is signed in.
struct Organisation {
    owner: Session,
    id: String,
}

impl Organisation {
    async fn new(app: &TestApp, owner: &str) -> Self {
        let owner = app.sign_in(owner).await;
        Self::of(owner, "acme").await
    }

    async fn of(owner: Session, slug: &str) -> Self {
        let new = json!({ "name": format!("{slug} Inc."), "slug": slug });
        let answer = owner.post("/api/v1/organisations", new).await;
        answer.assert_status(201);
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        Self { owner, id }
    }

    fn path(&self) -> String {
        format!("/api/v1/organisations/{}/invitations", self.id)
    }

    async fn try_invite(&self, email: &str, role: &str) -> Answer {
        let new = json!({ "email": email, "role": role });
        self.owner.post(&self.path(), new).await
    }

    /// Invites an address and returns the id of the invitation.
    async fn invite(&self, email: &str, role: &str) -> String {
        let answer = self.try_invite(email, role).await;
        answer.assert_status(201);
        answer.body["id"].as_str().expect("an id").to_owned()
    }

    async fn list(&self) -> Vec<Value> {
        let answer = self.owner.get(&self.path()).await;
        answer.assert_status(200);
        answer.body["items"].as_array().expect("a list").clone()
    }

    async fn revoke(&self, invitation: &str) -> Answer {
        let path = format!("{}/{invitation}", self.path());
        let token = Some(self.owner.access());
        let replica = &self.owner.replica;
        replica.call(Method::DELETE, &path, token, None).await
    }

    async fn resend(&self, invitation: &str) -> Answer {
        let path = format!("{}/{invitation}/resend", self.path());
        let token = Some(self.owner.access());
        let replica = &self.owner.replica;
        replica.call(Method::POST, &path, token, None).await
    }

    /// A new user who has joined.
    async fn add_member(&self, app: &TestApp, name: &str, role: &str) -> Session {
        let session = app.sign_in(name).await;
        let id = self.invite(&format!("{name}@example.com"), role).await;
        let answer = session.post(ACCEPT, json!({ "id": id })).await;
        answer.assert_status(200);
        app.run_jobs().await;
        session
    }

    async fn members(&self, app: &TestApp) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM memberships WHERE account_id = $1::text::uuid")
            .bind(&self.id)
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted")
    }
}

/// Delivers what waits, and returns the token of the newest email to this address.
async fn token_to(app: &TestApp, email: &str) -> String {
    let message = app.email_to(email).await;
    let link = message.links().into_iter().next().expect("it has a link");
    assert!(link.path().ends_with("/invitation"), "{link}");
    message.token().expect("the link has a token")
}

fn by_token(token: &str) -> Value {
    json!({ "token": token })
}

#[tokio::test]
async fn an_invited_person_signs_up_and_joins() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    let id = acme.invite("grace@example.com", "read_only").await;
    let listed = acme.list().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["email"], "grace@example.com");
    assert_eq!(listed[0]["role"], "read_only");
    assert_eq!(listed[0]["invited_by"], acme.owner.user_id().await);

    let token = token_to(&app, "grace@example.com").await;
    let preview = app.post(PREVIEW, by_token(&token)).await;
    preview.assert_status(200);
    assert_eq!(preview.body["organisation"], "acme Inc.");
    assert_eq!(preview.body["email"], "grace@example.com");
    assert_eq!(preview.body["inviter"], "ada@example.com");
    let names = json!({ "first_name": "Ada", "last_name": "Lovelace" });
    let renamed = acme.owner.patch("/api/v1/users/me", names).await;
    renamed.assert_status(200);
    let preview = app.post(PREVIEW, by_token(&token)).await;
    assert_eq!(preview.body["inviter"], "Ada Lovelace (ada@example.com)");

    let grace = app.sign_in("grace").await;
    let own = grace.get(OWN).await;
    assert_eq!(own.body["items"][0]["id"], id.as_str(), "{}", own.body);
    let path = format!("/api/v1/organisations/{}", acme.id);
    grace.get(&path).await.assert_problem(404, "not_found");
    let joined = grace.post(ACCEPT, by_token(&token)).await;
    joined.assert_status(200);
    let expected =
        json!({ "account_id": acme.id, "organisation": "acme Inc.", "role": "read_only" });
    assert_eq!(joined.body, expected);
    let seen = grace.get(&path).await;
    assert_eq!(seen.body["role"], "read_only", "{}", seen.body);
    assert_eq!(acme.list().await, [Value::Null; 0]);
    let notice = app.email_to("ada@example.com").await;
    let links = notice.links();
    assert!(links.iter().all(|it| it.path() == "/email-preferences"));
    for event in ["member_invited", "member_joined"] {
        assert_eq!(app.audited(event).await, 1, "{event}");
    }
}

#[tokio::test]
async fn nobody_invites_themselves_a_member_or_a_role_above_their_own() {
    let app = TestApp::with(&[("PLAN_FREE_SEATS", "0"), ("LIMIT_INVITATIONS", "1000/1h")]).await;
    let acme = Organisation::new(&app, "ada").await;
    let admin = acme.add_member(&app, "grace", "admin").await;
    let member = acme.add_member(&app, "joan", "member").await;

    acme.try_invite("ada@example.com", "member")
        .await
        .assert_field("email");
    acme.try_invite("Grace@Example.com", "member")
        .await
        .assert_problem(409, "already_member");
    acme.try_invite("not an address", "member")
        .await
        .assert_field("email");
    acme.try_invite("hedy@example.com", "god")
        .await
        .assert_field("role");
    let owner = json!({ "email": "hedy@example.com", "role": "owner" });
    let refused = admin.post(&acme.path(), owner.clone()).await;
    refused.assert_problem(403, "permission_denied");
    assert!(
        refused.body["detail"]
            .to_string()
            .contains("organisation:own")
    );
    for answer in [
        member.post(&acme.path(), owner.clone()).await,
        member.get(&acme.path()).await,
    ] {
        answer.assert_problem(403, "permission_denied");
    }
    let stranger = app.sign_in("hedy").await;
    stranger
        .post(&acme.path(), owner)
        .await
        .assert_problem(404, "not_found");

    // An administrator cannot send an owner's invitation again, which would be granting it.
    let id = acme.invite("hedy@example.com", "owner").await;
    app.run_jobs().await;
    let path = format!("{}/{id}/resend", acme.path());
    let call = app
        .replica
        .call(Method::POST, &path, Some(admin.access()), None);
    call.await.assert_problem(403, "permission_denied");
    assert_eq!(acme.list().await.len(), 1);
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to("hedy@example.com").len(), 2);
}

#[tokio::test]
async fn open_invitations_take_seats_and_have_a_maximum_and_a_rate() {
    let app = TestApp::with(&[("PLAN_FREE_SEATS", "3"), ("LIMIT_INVITATIONS", "1000/1h")]).await;
    let acme = Organisation::new(&app, "ada").await;
    acme.invite("a@example.com", "member").await;
    let b = acme.invite("b@example.com", "member").await;
    acme.try_invite("c@example.com", "member")
        .await
        .assert_problem(409, "no_seats");
    // The same address again takes no other seat, and a revoked invitation none.
    acme.invite("a@example.com", "admin").await;
    acme.revoke(&b).await.assert_status(204);
    acme.revoke(&b).await.assert_problem(404, "not_found");
    let c = acme.invite("c@example.com", "member").await;

    // Expired ones are listed and take no seat, until they are sent again.
    app.clock.advance(8 * DAY);
    let acme = Organisation {
        owner: app.log_in("ada@example.com").await,
        ..acme
    };
    assert_eq!(acme.list().await.len(), 2);
    for name in ["d", "e"] {
        acme.invite(&format!("{name}@example.com"), "member").await;
    }
    acme.resend(&c).await.assert_problem(409, "no_seats");
    app.run_jobs().await;

    let few = [("PLAN_FREE_SEATS", "0"), ("INVITATION_MAX_COUNT", "2")];
    let replica = app.another_replica_with(&few).await;
    let acme = Organisation {
        owner: Session {
            replica,
            tokens: acme.owner.tokens,
        },
        id: acme.id,
    };
    acme.try_invite("f@example.com", "member")
        .await
        .assert_problem(409, "too_many_invitations");
    acme.resend(&c)
        .await
        .assert_problem(409, "too_many_invitations");

    let slow = [("PLAN_FREE_SEATS", "0"), ("LIMIT_INVITATIONS", "2/1h")];
    let app = TestApp::with(&slow).await;
    let acme = Organisation::new(&app, "ada").await;
    let id = acme.invite("a@example.com", "member").await;
    acme.resend(&id).await.assert_status(202);
    for answer in [
        acme.resend(&id).await,
        acme.try_invite("b@example.com", "member").await,
    ] {
        answer.assert_problem(429, "rate_limited");
    }
    // Another organisation has a limit of its own.
    let other = Organisation::of(app.log_in("ada@example.com").await, "other").await;
    other.invite("b@example.com", "member").await;
    app.run_jobs().await;
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

#[tokio::test]
async fn nobody_learns_whether_an_address_has_an_account() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    let known = app.sign_up("grace").await;
    app.register("joan@example.com").await;
    app.run_jobs().await;
    app.inbox.clear();
    let mut seen = Vec::new();
    for email in [known.as_str(), "joan@example.com", "nobody@example.com"] {
        let answer = acme.try_invite(email, "member").await;
        let mut body = answer.body.clone();
        for field in ["id", "email"] {
            body[field].take();
        }
        let token = token_to(&app, email).await;
        let messages = app.inbox.emails_to(email);
        assert_eq!(messages.len(), 1, "{email}");
        let text = messages[0].text.replace(&token, "").replace(email, "");
        let preview = app.post(PREVIEW, by_token(&token)).await;
        let preview = (
            preview.status,
            preview.body.as_object().map(serde_json::Map::len),
        );
        seen.push((answer.status, body, text, preview));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn who_declines_gets_no_further_email_and_the_organisation_does_not_learn_it() {
    let app = TestApp::new().await;
    let acme = Organisation::new(&app, "ada").await;
    acme.invite("grace@example.com", "member").await;
    let token = token_to(&app, "grace@example.com").await;
    app.post(DECLINE, by_token(&token)).await.assert_status(204);
    app.post(DECLINE, by_token(&token))
        .await
        .assert_problem(422, "invalid_invitation");
    assert_eq!(app.audited("invitation_declined").await, 1);
    app.inbox.clear();

    let again = acme.try_invite("grace@example.com", "member").await;
    let other = acme.try_invite("joan@example.com", "member").await;
    let fields = |answer: &Answer| {
        answer
            .body
            .as_object()
            .map(|it| it.keys().cloned().collect())
    };
    let both: [(_, Option<Vec<String>>); 2] = [&again, &other].map(|it| (it.status, fields(it)));
    assert_eq!(both[0], both[1]);
    again.assert_status(201);
    assert_eq!(acme.list().await.len(), 2);
    let id = again.body["id"].as_str().expect("an id");
    acme.resend(id).await.assert_status(202);
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to("grace@example.com").len(), 0);
    assert_eq!(app.inbox.emails_to("joan@example.com").len(), 1);

    // Another organisation is not declined, and an invitation can be accepted without its email.
    let other = Organisation::of(app.log_in("ada@example.com").await, "other").await;
    other.invite("grace@example.com", "member").await;
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to("grace@example.com").len(), 1);
    let grace = app.sign_in("grace").await;
    let declined = grace.get(OWN).await.body["items"][0]["id"].clone();
    let path = format!("{OWN}/{}", declined.as_str().expect("an id"));
    let call = grace
        .replica
        .call(Method::DELETE, &path, Some(grace.access()), None);
    call.await.assert_status(204);
    let left = grace.get(OWN).await;
    let left = left.body["items"].as_array().expect("a list").clone();
    assert_eq!(left.len(), 1);
    let accepted = grace.post(ACCEPT, json!({ "id": left[0]["id"] })).await;
    accepted.assert_status(200);
    app.run_jobs().await;
}
