//! Checks before the load: the address is that of this service, an account can sign in, and files are or are not configured.

use std::sync::Arc;

use groundwork_dev::{Error, Result};
use hyper::Method;
use serde_json::json;

use super::client::{Client, Target};
use super::options::Account;

/// Returns the target, and `true` if it stores files.
pub(super) async fn check(target: Target, account: Account) -> Result<(Arc<Target>, bool)> {
    let target = Arc::new(target);
    let mut client = Client::new(Arc::clone(&target), 0);
    let me = client.send(Method::GET, "/api/v1/users/me", "", None).await;
    let me = me.map_err(|error| Error::Other(format!("the service does not respond: {error}")))?;
    if me.status != 401 || me.json["code"] != "unauthenticated" {
        return Err(Error::Other(format!(
            "another service is at that address: GET /api/v1/users/me without a token is {}, and not 401 `unauthenticated`",
            me.status
        )));
    }
    let body = json!({ "email": account.email, "password": account.password });
    let signed_in = client
        .send(Method::POST, "/api/v1/auth/login", "", Some(body.into()))
        .await
        .map_err(|error| Error::Other(format!("the service does not respond: {error}")))?;
    let token = signed_in.json["access_token"].as_str().unwrap_or_default();
    if signed_in.status != 200 {
        return Err(Error::Other(format!(
            "{} cannot sign in: {} `{}`",
            account.email,
            signed_in.status,
            signed_in.json["code"].as_str().unwrap_or_default()
        )));
    }
    // Uploads alone say that no store is configured: a list of files needs none.
    let form = super::user::form();
    let uploaded = client
        .send(Method::POST, "/api/v1/files/upload", token, Some(form))
        .await
        .map_err(|error| Error::Other(format!("the service does not respond: {error}")))?;
    let has_files = uploaded.json["code"] != "storage_not_configured";
    if let Some(id) = uploaded.json["id"].as_str() {
        let path = format!("/api/v1/files/{id}");
        let _ = client.send(Method::DELETE, &path, token, None).await;
    }
    let body = json!({ "refresh_token": signed_in.json["refresh_token"] });
    let _ = client
        .send(
            Method::POST,
            "/api/v1/auth/logout",
            token,
            Some(body.into()),
        )
        .await;
    Ok((target, has_files))
}
