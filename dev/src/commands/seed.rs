//! Creates the data of the development users at the first start, through the API: an organisation, and an optional email
//! that one of them has asked for.

use std::net::Ipv4Addr;

use groundwork_dev::{Error, Result, error::Doing};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(super) const SLUG: &str = "acme";
pub(super) const NAME: &str = "Acme";
/// Address with an open invitation.
pub(super) const INVITED: &str = "invited@example.com";

/// Creates the organisation with an owner, an admin and an open invitation, each an address and a password. Can be
/// repeated.
pub(super) async fn create_organisation(
    port: u16,
    owner: (&str, &str),
    admin: (&str, &str),
) -> Result<()> {
    let api = Api { port };
    let owner_token = api.sign_in(owner).await?;
    let new = json!({ "name": NAME, "slug": SLUG });
    api.post("organisations", Some(&owner_token), &new, &[201, 409])
        .await?;
    let invitations = format!("organisations/{SLUG}/invitations");
    for (email, role) in [(admin.0, "admin"), (INVITED, "member")] {
        let new = json!({ "email": email, "role": role });
        let invited = api
            .post(&invitations, Some(&owner_token), &new, &[201, 409])
            .await?;
        if email == admin.0 && invited["id"].is_string() {
            let admin_token = api.sign_in(admin).await?;
            let own = json!({ "id": invited["id"] });
            api.post("invitations/accept", Some(&admin_token), &own, &[200])
                .await?;
        }
    }
    Ok(())
}

/// Asks for the monthly usage summary, which comes within a minute. Can be repeated.
pub(super) async fn ask_for_summary(port: u16, user: (&str, &str)) -> Result<()> {
    let api = Api { port };
    let token = api.sign_in(user).await?;
    let choice = json!({ "usage_summary": true });
    let path = "users/me/consents";
    api.send("PUT", path, Some(&token), &choice, &[200]).await?;
    Ok(())
}

struct Api {
    port: u16,
}

impl Api {
    async fn sign_in(&self, (email, password): (&str, &str)) -> Result<String> {
        let body = json!({ "email": email, "password": password });
        let tokens = self.post("auth/login", None, &body, &[200]).await?;
        let token = tokens["access_token"].as_str().unwrap_or_default();
        Ok(token.to_owned())
    }

    async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: &Value,
        statuses: &[u16],
    ) -> Result<Value> {
        self.send("POST", path, token, body, statuses).await
    }

    /// Sends JSON, and returns the body of a response with one of these statuses.
    async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
        statuses: &[u16],
    ) -> Result<Value> {
        let (port, body) = (self.port, body.to_string());
        let doing = || format!("{method} {path}");
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let request = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .doing(doing)?;
        stream.write_all(request.as_bytes()).await.doing(doing)?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.doing(doing)?;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        if status.is_some_and(|status| statuses.contains(&status)) {
            return Ok(serde_json::from_str(body).unwrap_or_default());
        }
        Err(Error::Other(format!("could not {}: {body}", doing())))
    }
}
