//! Signals, and a child that shares the terminal with us.

use std::{
    io::{self, IsTerminal},
    process::{Child, Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use groundwork_dev::{
    Result,
    error::Doing,
    process::{self, Signal},
};
use tokio::signal::unix::{SignalKind, signal};

/// The ways in which we are asked to stop.
pub(super) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Interrupts {
    /// From here on a signal no longer ends us by itself.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).doing(|| "listen to signals".into());
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// The code of a run that was interrupted.
pub(super) fn interrupted(signal: Signal) -> ExitCode {
    u8::try_from(signal.as_raw()).map_or(ExitCode::FAILURE, |number| ExitCode::from(128 + number))
}

/// A child in our own process group, so that it may use the terminal and gets its Ctrl-C.
pub(super) struct Foreground(Child);

impl Foreground {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).doing(|| format!("start {name}"))
    }

    /// Waits until it ends, passing on the signals that it does not get by itself.
    pub(super) async fn wait(&mut self, interrupts: &mut Interrupts) -> Result<Ended> {
        let mut interrupted_by = None;
        loop {
            tokio::select! {
                ended = ended(&mut self.0) => return Ok(Ended { status: ended?, interrupted_by }),
                signal = interrupts.next() => {
                    interrupted_by = Some(signal);
                    if signal != Signal::INT || !io::stdin().is_terminal() {
                        process::signal(self.0.id(), signal);
                    }
                }
            }
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        process::signal(self.0.id(), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

async fn ended(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().doing(|| "wait for a child".into())? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How a child in the foreground ended.
pub(super) struct Ended {
    status: ExitStatus,
    interrupted_by: Option<Signal>,
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        self.status.success() && self.interrupted_by.is_none()
    }

    pub(super) fn code(&self) -> ExitCode {
        if let Some(signal) = self.interrupted_by {
            return interrupted(signal);
        }
        self.status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from)
    }
}
