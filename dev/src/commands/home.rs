//! `.dev/`: what a checkout keeps between runs. Holding it keeps a second run out.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use groundwork_dev::{
    Error, Result,
    error::Doing,
    files, postgres,
    process::{self, Signal},
};
use serde::{Deserialize, Serialize};

use super::service;

/// Exists once the first users and their organisation are made. The number grows with what is made.
const SEEDED: &str = "seeded-2";

/// The directory with the workspace, wherever inside it the command was typed.
pub(super) fn checkout() -> Result<PathBuf> {
    let here = env::current_dir().doing(|| "find the current directory".into())?;
    let is_checkout =
        |dir: &&Path| dir.join("Cargo.toml").is_file() && dir.join("dev/Cargo.toml").is_file();
    here.ancestors()
        .find(is_checkout)
        .map(Path::to_path_buf)
        .ok_or_else(|| Error::Other("run this inside the checkout".into()))
}

/// The kept directory of one checkout, locked for one run.
pub(super) struct Home {
    path: PathBuf,
    _lock: fs::File,
}

/// The ports of the last run.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Ports {
    pub(super) api: Option<u16>,
    pub(super) metrics: Option<u16>,
    pub(super) inbox: Option<u16>,
    pub(super) smtp: Option<u16>,
    pub(super) postgres: Option<u16>,
    pub(super) stripe: Option<u16>,
    pub(super) s3: Option<u16>,
}

impl Home {
    /// Opens and locks it, or says where the other run is.
    pub(super) fn open() -> Result<Self> {
        let path = checkout()?.join(".dev");
        fs::create_dir_all(&path).doing_to("create", &path)?;
        let lock_path = path.join("run.lock");
        let lock = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&lock_path)
            .doing_to("open", &lock_path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::AlreadyRunning(url_of_run(&path))),
            Err(fs::TryLockError::Error(e)) => Err(e).doing_to("lock", &lock_path),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn ports(&self) -> Ports {
        let text = fs::read_to_string(self.path.join("ports.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(super) fn keep_ports(&self, ports: &Ports) -> Result<()> {
        files::write_private(&self.path.join("ports.json"), &json(ports))
    }

    /// Where the fake Stripe keeps its accounts.
    pub(super) fn stripe_file(&self) -> PathBuf {
        self.path.join("stripe.json")
    }

    /// Where the S3 server keeps its objects.
    pub(super) fn s3_directory(&self) -> PathBuf {
        self.path.join("s3")
    }

    /// Forgets what belongs to a database that is gone.
    pub(super) fn forget_data(&self) -> Result<()> {
        let _ = fs::remove_file(self.stripe_file());
        let _ = fs::remove_dir_all(self.s3_directory());
        self.set_seeded(false)
    }

    /// The file that [`Home::publish`] writes.
    pub(super) fn urls_file(&self) -> PathBuf {
        self.path.join("urls.json")
    }

    /// Writes where everything is, for scripts and the start page.
    pub(super) fn publish(&self, urls: &impl Serialize) -> Result<()> {
        files::write_private(&self.urls_file(), &json(urls))
    }

    /// Nothing runs any more.
    pub(super) fn unpublish(&self) {
        let _ = fs::remove_file(self.path.join("service.pid"));
        let _ = fs::remove_file(self.urls_file());
    }

    /// The secrets of this checkout, each made at the first run that needs it.
    pub(super) fn secrets(&self, make: impl FnOnce() -> Result<String>) -> Result<String> {
        let path = self.path.join("secrets.env");
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        let name = |line: &str| line.split('=').next().map(str::to_owned);
        let known: HashSet<_> = text.lines().map(name).collect();
        let fresh = make()?;
        let missing: Vec<_> = fresh
            .lines()
            .filter(|it| !known.contains(&name(it)))
            .collect();
        if !missing.is_empty() {
            text += &(missing.join("\n") + "\n");
            files::write_private(&path, &text)?;
        }
        Ok(text)
    }

    /// Remembers the service, for a next run after one that was killed.
    pub(super) fn note_service(&self, pid: u32) -> Result<()> {
        files::write_private(&self.path.join("service.pid"), &pid.to_string())
    }

    /// Ends the service of a run that was killed, where the system did not.
    pub(super) fn end_leftover_service(&self) {
        let note = fs::read_to_string(self.path.join("service.pid")).unwrap_or_default();
        let Ok(pid) = note.parse() else { return };
        // The number may meanwhile belong to something else.
        if process::is_alive(pid)
            && process::command_line(pid).contains(&format!("{} serve", service::NAME))
        {
            process::end(pid, Signal::TERM, Duration::from_secs(10));
        }
    }

    pub(super) fn is_seeded(&self) -> bool {
        self.path.join(SEEDED).exists()
    }

    pub(super) fn set_seeded(&self, seeded: bool) -> Result<()> {
        let path = self.path.join(SEEDED);
        if seeded {
            return files::write_private(&path, "");
        }
        let _ = fs::remove_file(path);
        Ok(())
    }

    /// Deletes everything in it.
    pub(super) fn remove(self) -> Result<()> {
        postgres::remove(&self.path)?;
        fs::remove_dir_all(&self.path).doing_to("remove", &self.path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.unpublish();
    }
}

fn url_of_run(path: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Urls {
        root: String,
    }
    let text = fs::read_to_string(path.join("urls.json")).ok()?;
    serde_json::from_str::<Urls>(&text)
        .ok()
        .map(|urls| urls.root)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
