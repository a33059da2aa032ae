//! Calls of git and other programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A call of git in a directory, without what its caller's hooks or aliases might do to it.
pub(crate) fn git<I, S>(directory: &Path, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(args);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command
}

/// Runs it and returns its output without the line break at the end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| failed(command, &error.to_string()))?;
    if !ran.status.success() {
        let text = String::from_utf8_lossy(&ran.stderr);
        let text = if text.trim().is_empty() {
            String::from_utf8_lossy(&ran.stdout)
        } else {
            text
        };
        return Err(failed(command, text.trim()));
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Runs it and returns whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| failed(command, &error.to_string()))?;
    Ok(ran.status.success())
}

fn failed(command: &Command, reason: &str) -> Error {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    Error::Program {
        command: words.join(" "),
        reason: reason.to_owned(),
    }
}

/// Gives commits to the caller, or to the author where git does not know the caller.
pub(crate) fn identify(
    command: &mut Command,
    directory: &Path,
    author: &str,
    sender: &str,
) -> Result<()> {
    if succeeds(&mut git(directory, ["var", "GIT_COMMITTER_IDENT"]))? {
        return Ok(());
    }
    let address = sender
        .split_once('<')
        .map_or(sender, |(_, address)| address.trim_end_matches('>'));
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), author);
        command.env(format!("GIT_{role}_EMAIL"), address);
    }
    Ok(())
}

/// Writes the files of a commit below an empty directory.
pub(crate) fn export(repository: &Path, commit: &str, into: &Path) -> Result<()> {
    let mut archive = git(repository, ["archive", "--format=tar", commit]);
    let mut archived = archive.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let stream = match &mut archived {
        Ok(child) => child.stdout.take(),
        Err(error) => return Err(failed(&archive, &error.to_string())),
    };
    let mut unpack = Command::new("tar");
    unpack.arg("-x").arg("-C").arg(into);
    if let Some(stream) = stream {
        unpack.stdin(stream);
    }
    let unpacked = unpack
        .output()
        .map_err(|error| failed(&unpack, &error.to_string()))?;
    let is_complete = match archived {
        Ok(mut child) => child.wait().is_ok_and(|status| status.success()),
        Err(_) => false,
    };
    if !is_complete || !unpacked.status.success() {
        return Err(failed(&archive, &String::from_utf8_lossy(&unpacked.stderr)));
    }
    Ok(())
}
