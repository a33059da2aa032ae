//! Children: started in a group of their own, dying with us where the system can arrange it,
//! ended in good order.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{
    Pid, Resource, Rlimit, geteuid, getrlimit, kill_process, setrlimit, test_kill_process,
};

use crate::{
    error::{Doing, Error, Result},
    files,
};

/// An account without privileges, for servers that refuse to run as root.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

impl Account {
    /// The account for servers when we are root; none when we are not.
    pub fn for_servers() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".into())?;
        let find = |wanted: &str| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == wanted).then_some(())?;
                let uid = fields.nth(1)?.parse().ok()?;
                Some(Self {
                    uid,
                    gid: fields.next()?.parse().ok()?,
                })
            })
        };
        find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
            Error::Missing("PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`".into())
        })
    }

    /// The account that owns a path, when we are root and it is not root's.
    #[must_use]
    pub fn owning(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        (geteuid().is_root() && found.uid() != 0).then(|| Self {
            uid: found.uid(),
            gid: found.gid(),
        })
    }

    /// Whether this account may enter a directory, which asks for every directory above it too.
    #[must_use]
    pub fn can_enter(&self, directory: &Path) -> bool {
        let Ok(directory) = directory.canonicalize() else {
            return false;
        };
        Command::new("/bin/sh")
            .args(["-c", "cd -- \"$1\" 2>/dev/null", "sh"])
            .arg(directory)
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// How a child is told to end when we die without a word (Linux only).
#[derive(Clone, Copy, Debug)]
pub enum OnOurDeath {
    /// End in good order.
    Terminate,
    /// What PostgreSQL calls a fast shutdown.
    Interrupt,
}

/// A command that dies with us and runs as the given account if there is one.
///
/// Spawn it from a thread that lives as long as the child should: Linux takes the end of the
/// spawning thread for the end of the parent.
#[must_use]
pub fn command(program: &OsStr, account: Option<&Account>, on_our_death: OnOurDeath) -> Command {
    let mut command = if let Some(setpriv) = setpriv() {
        let mut command = Command::new(setpriv);
        let signal = match on_our_death {
            OnOurDeath::Terminate => "TERM",
            OnOurDeath::Interrupt => "INT",
        };
        command.args(["--pdeathsig", signal, "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid).current_dir("/");
    }
    command
}

/// `setpriv` of util-linux, where it knows how to tie a child's life to ours.
fn setpriv() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let found = files::on_path("setpriv")?;
            let probe = Command::new(&found)
                .args(["--pdeathsig", "KILL", "--", "true"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            probe.is_ok_and(|status| status.success()).then_some(found)
        })
        .as_ref()
}

/// The variable that says where instrumented programs write their profile, if it is set.
///
/// For programs that get nothing else of this environment.
#[must_use]
pub fn coverage_profile() -> Option<(&'static str, OsString)> {
    let name = "LLVM_PROFILE_FILE";
    Some((name, env::var_os(name)?))
}

/// Open files that thousands of connections need.
const OPEN_FILES: u64 = 16_384;

/// Raises the limit of open files of this process and its children, as far as the system allows.
pub fn allow_open_files() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    // `None` is without limit.
    let wanted = limits
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limits.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limits.maximum,
    };
    let set = setrlimit(Resource::Nofile, raised).map_err(std::io::Error::from);
    set.doing(|| "raise the limit of open files".into())
}

/// Whether a process with this id exists, whoever owns it.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The command line of a process, as far as the system tells.
#[must_use]
pub fn command_line(pid: i32) -> String {
    if let Ok(raw) = fs::read(format!("/proc/{pid}/cmdline")) {
        return String::from_utf8_lossy(&raw).replace('\0', " ");
    }
    let ps = Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output();
    ps.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended a moment ago, which is as good.
        let _ = kill_process(pid, signal);
    }
}

/// Signals a process and waits until it is gone; kills it when it is not in time.
pub fn end(pid: i32, signal: Signal, grace: Duration) {
    let Some(id) = Pid::from_raw(pid) else { return };
    let _ = kill_process(id, signal);
    let deadline = Instant::now() + grace;
    // A process that nobody reaps keeps its number but has no command line any more.
    while is_alive(pid) && !command_line(pid).trim().is_empty() {
        if Instant::now() > deadline {
            let _ = kill_process(id, Signal::KILL);
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A child that serves until it is stopped; dropping it stops it too.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    stop_with: Signal,
    log: Option<PathBuf>,
}

impl Server {
    /// Starts a child in a process group of its own, so that a terminal's Ctrl-C reaches only us.
    ///
    /// With a log, what it writes goes there; without one, to where our own output goes.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        stop_with: Signal,
        log: Option<&Path>,
    ) -> Result<Self> {
        if let Some(path) = log {
            let file = fs::File::create(path).doing_to("write", path)?;
            let twin = file.try_clone().doing_to("write", path)?;
            command.stdout(file).stderr(twin);
        }
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .doing(|| format!("start {name}"))?;
        Ok(Self {
            name,
            child,
            stop_with,
            log: log.map(Path::to_path_buf),
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.ended().map_or(Ok(()), |status| Err(self.died(status)))
    }

    /// Waits until it is ready; fails when it ends before, or is not ready within `limit`.
    pub async fn wait_until(
        &mut self,
        limit: Duration,
        is_ready: impl AsyncFn() -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        while !is_ready().await {
            self.check()?;
            if began.elapsed() > limit {
                return Err(self.unresponsive(limit.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.check()
    }

    /// Waits until it ends by itself, which a server should not.
    pub async fn death(&mut self) -> Error {
        loop {
            if let Some(status) = self.ended() {
                return self.died(status);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn died(&self, status: ExitStatus) -> Error {
        Error::Died {
            name: self.name.into(),
            status: status.to_string(),
            log: self.log_tail(),
        }
    }

    /// The error for a child that lives but does not answer.
    #[must_use]
    pub fn unresponsive(&self, seconds: u64) -> Error {
        Error::Unresponsive {
            name: self.name.into(),
            seconds,
            log: self.log_tail(),
        }
    }

    /// The file that it writes to, if it has one.
    #[must_use]
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    fn log_tail(&self) -> String {
        self.log.as_deref().map(files::tail).unwrap_or_default()
    }

    /// Asks it to end, waits, and kills it when the grace is over.
    pub async fn stop(&mut self, grace: Duration) {
        self.ask_to_end();
        let deadline = Instant::now() + grace;
        while self.ended().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill();
    }

    fn ask_to_end(&mut self) {
        if self.ended().is_none() {
            signal(self.child.id(), self.stop_with);
        }
    }

    fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_end();
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}
