//! The users that `run` creates at the first start.

use std::process::Stdio;

use groundwork_dev::{Error, Result, error::Doing};
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::service;

pub(super) const DEMO: Login = Login {
    email: "demo@example.com",
    password: "demo-on-my-machine",
    is_admin: false,
};
pub(super) const ADMIN: Login = Login {
    email: "admin@example.com",
    password: "admin-on-my-machine",
    is_admin: true,
};

/// Somebody who can sign in from the first start on.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Login {
    pub(super) email: &'static str,
    pub(super) password: &'static str,
    #[serde(skip)]
    is_admin: bool,
}

impl Login {
    pub(super) async fn create(self, settings: &[(String, String)]) -> Result<()> {
        let mut command = service::command(&[
            "users",
            "create",
            "--email",
            self.email,
            "--verified",
            "--if-missing",
        ])?;
        if self.is_admin {
            command.arg("--admin");
        }
        command.args(["--first-name", if self.is_admin { "Admin" } else { "Demo" }]);
        command
            .envs(settings.iter().cloned())
            .env("LOG_LEVEL", "warn");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let doing = || format!("create {}", self.email);
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .doing(doing)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(format!("{}\n", self.password).as_bytes())
                .await
                .doing(doing)?;
        }
        let output = child.wait_with_output().await.doing(doing)?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Error::Other(format!(
            "could not create {}: {}",
            self.email,
            why.trim()
        )))
    }
}
