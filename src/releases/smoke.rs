//! Smoke checks of one replica, by the requests that a proxy passes on.

use http_probe::{NoReply, Probe, Reply};
use http_toolkit::{DOCS_DOCUMENT, DOCS_PAGE};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::Url;

use crate::config::Config;
use crate::users::SYNTHETIC_ADDRESS;

const READINESS: &str = "/health/ready";
const VERSION: &str = "/health";
const SIGN_IN: &str = "/api/v1/auth/login";
const SIGN_OUT: &str = "/api/v1/auth/logout";
const ME: &str = "/api/v1/users/me";

/// The first check that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SmokeFailure {
    #[error(transparent)]
    NoReply(#[from] NoReply),
    #[error("{path} replied with {found} instead of {wanted}")]
    Status {
        path: &'static str,
        wanted: u16,
        found: u16,
    },
    #[error("the version is {found:?} instead of {wanted:?}")]
    Version { wanted: String, found: String },
    #[error("{path} replied without {field}")]
    Body {
        path: &'static str,
        field: &'static str,
    },
}

/// Checks readiness, version, a sign-in of the synthetic account, a signed-in read, and that the documentation is served
/// only where it is enabled. Returns the checks that passed; ends at the first failure. The session ends with the checks.
pub(super) async fn check(
    config: &Config,
    replica: Url,
    version: &str,
    password: &SecretString,
) -> Result<Vec<&'static str>, SmokeFailure> {
    let public = &config.http.public_url;
    let mut probe = Probe::new(replica)?;
    if let (Some(host), "https") = (public.host_str(), public.scheme()) {
        probe = probe.as_proxy_of(host.to_owned());
    }
    expect(READINESS, 200, &probe.get(READINESS, None).await?)?;
    check_version(&probe, version).await?;
    let token = sign_in(&probe, password).await?;
    let read = check_read(&probe, &token).await;
    let signed_out = probe.post(SIGN_OUT, None, Some(&token)).await?;
    read?;
    expect(SIGN_OUT, 204, &signed_out)?;
    let wanted = if config.docs_enabled { 200 } else { 404 };
    expect(
        DOCS_DOCUMENT,
        wanted,
        &probe.get(DOCS_DOCUMENT, None).await?,
    )?;
    if !config.docs_enabled {
        expect(DOCS_PAGE, wanted, &probe.get(DOCS_PAGE, None).await?)?;
    }
    Ok(vec![
        "readiness",
        "version",
        "sign-in",
        "signed-in read",
        "sign-out",
        "documentation",
    ])
}

async fn check_version(probe: &Probe, wanted: &str) -> Result<(), SmokeFailure> {
    let health = probe.get(VERSION, None).await?;
    expect(VERSION, 200, &health)?;
    let found = text(VERSION, "version", &health)?;
    if found != wanted {
        return Err(SmokeFailure::Version {
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        });
    }
    Ok(())
}

async fn sign_in(probe: &Probe, password: &SecretString) -> Result<String, SmokeFailure> {
    let body = json!({ "email": SYNTHETIC_ADDRESS, "password": password.expose_secret() });
    let reply = probe.post(SIGN_IN, Some(&body), None).await?;
    expect(SIGN_IN, 200, &reply)?;
    Ok(text(SIGN_IN, "access_token", &reply)?.to_owned())
}

async fn check_read(probe: &Probe, token: &str) -> Result<(), SmokeFailure> {
    let reply = probe.get(ME, Some(token)).await?;
    expect(ME, 200, &reply)?;
    if text(ME, "email", &reply)? != SYNTHETIC_ADDRESS {
        return Err(SmokeFailure::Body {
            path: ME,
            field: "the address of the account",
        });
    }
    Ok(())
}

fn expect(path: &'static str, wanted: u16, reply: &Reply) -> Result<(), SmokeFailure> {
    if reply.status == wanted {
        return Ok(());
    }
    Err(SmokeFailure::Status {
        path,
        wanted,
        found: reply.status,
    })
}

fn text<'a>(
    path: &'static str,
    field: &'static str,
    reply: &'a Reply,
) -> Result<&'a str, SmokeFailure> {
    let value = reply.body[field].as_str();
    value.ok_or(SmokeFailure::Body { path, field })
}
