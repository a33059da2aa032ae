//! The commands of the one binary.

use std::io::{self, BufRead};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A SaaS backend: accounts, sessions and letters over HTTP, and the worker behind them.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, after_help = CONFIGURATION)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const CONFIGURATION: &str = "Settings are environment variables; each can also be given as NAME_FILE, \
the path of a file that holds the value.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP and run background jobs until SIGTERM or Ctrl-C
    Serve {
        /// Bring the database schema up to date first (needs `DATABASE_MIGRATION_URL`)
        #[arg(long)]
        migrate: bool,
        /// Leave background jobs to other processes
        #[arg(long)]
        no_worker: bool,
    },
    /// Run background jobs, without HTTP, until SIGTERM or Ctrl-C
    Worker,
    /// Bring the database schema up to date and give the runtime role its rights
    ///
    /// Connects as the owner (`DATABASE_MIGRATION_URL`). Safe to run from any number of replicas at
    /// once, and again after a failure.
    Migrate,
    /// Check the configuration and everything it names, and list every fault
    ///
    /// Asks the database (also for its clock, schema and our rights), Redis and the mail server.
    Doctor,
    /// Ask the service in this container whether it is ready: exits with 0 or 1
    Healthcheck,
    /// Print the OpenAPI document as JSON; needs no configuration
    Openapi,
    /// Make secrets for the configuration
    #[command(subcommand)]
    Keys(Keys),
    /// Look after accounts
    #[command(subcommand)]
    Users(Users),
}

/// Secrets for the configuration.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Print new random secrets, one variable a line; needs no configuration
    Generate,
    /// List the keys of a ring by their ids, and what each does; never a key
    Status {
        /// Which ring
        #[arg(long, value_enum, default_value_t = Ring::Signing)]
        ring: Ring,
    },
    /// Print a ring as it is to be after the next step of its rotation, and what to do then
    ///
    /// Reads the present ring from the configuration and changes nothing: give the new value to
    /// every replica before the next step. Replicas with the ring of before and of after a step
    /// accept each other's tokens, so that a rolling restart refuses nobody.
    Rotate(Rotation),
}

/// A step of a ring's rotation.
#[derive(Debug, Args)]
pub struct Rotation {
    /// Which step
    #[arg(long, value_enum)]
    pub step: Step,
    /// Which ring
    #[arg(long, value_enum, default_value_t = Ring::Signing)]
    pub ring: Ring,
    /// Write the value to this new file, which only its owner may read, instead of printing it
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A ring of keys, of which the first is used and all are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// `JWT_SIGNING_KEYS`: what access tokens are signed with
    Signing,
    /// `ENCRYPTION_KEYS`: what is sealed in the database
    Encryption,
    /// `TOKEN_SECRET`: what refresh tokens, CSRF tokens and hidden limit keys are made under
    Token,
}

/// A step of a ring's rotation, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Put a new key at the end, where it is recognised and not used
    Add,
    /// Take the last key to the front, where it is used
    Promote,
    /// Drop the last key, which no replica uses any more; not of the encryption keys
    Drop,
}

/// Accounts.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Make an account; its password is read from the first line of standard input
    Create(NewAccount),
    /// Make an administrator; the password is read from the first line of standard input
    ///
    /// The address is taken as verified. Exits with 3 when it has an account already, and with 4
    /// when that account cannot be made an administrator's.
    CreateAdmin(NewAdmin),
    /// Remove the second factor of somebody who has lost it, and the recovery codes with it
    ///
    /// Make sure first that it is the owner who asks. All sessions of the account end, and the owner
    /// is told by letter. Exits with 5 when the address has no account, and with 6 when the account
    /// has no second factor.
    RemoveSecondFactor {
        /// The account's address
        #[arg(long)]
        email: String,
    },
    /// List or clear lockouts after too many failed attempts to sign in
    #[command(subcommand)]
    Lockouts(Lockouts),
}

#[derive(Debug, Subcommand)]
pub enum Lockouts {
    /// Print who is locked out of sign-in now, one a line: until when, then the account or client
    ///
    /// Without Redis the lines come from the audit log, also for lockouts that have ended early.
    List,
    /// Clear a lockout and the failed attempts behind it
    ///
    /// Exits with 5 when the address has no account, and with 7 when Redis is not in use or does not
    /// respond: each process then counts by itself.
    Clear(LockoutSubject),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct LockoutSubject {
    /// Address of the account
    #[arg(long)]
    pub email: Option<String>,
    /// IP address of the client
    #[arg(long)]
    pub client: Option<IpAddr>,
}

/// An administrator to make.
#[derive(Debug, Args)]
pub struct NewAdmin {
    /// The address to sign in with
    #[arg(long)]
    pub email: String,
    /// Given name
    #[arg(long)]
    pub first_name: Option<String>,
    /// Family name
    #[arg(long)]
    pub last_name: Option<String>,
    /// Make the account that the address has an administrator's; its password stays, and none is
    /// read
    #[arg(long)]
    pub promote: bool,
}

/// An account to make.
#[derive(Debug, Args)]
pub struct NewAccount {
    /// The address to sign in with
    #[arg(long)]
    pub email: String,
    /// Take the address as verified, and send no letter
    #[arg(long)]
    pub verified: bool,
    /// Let the account look after other people's accounts
    #[arg(long, requires = "verified")]
    pub admin: bool,
    /// Given name
    #[arg(long)]
    pub first_name: Option<String>,
    /// Family name
    #[arg(long)]
    pub last_name: Option<String>,
    /// Succeed without change when the address has an account already
    #[arg(long)]
    pub if_missing: bool,
}

/// More than any password, so that input without a line ending is not read to its end.
const LONGEST_LINE: u64 = 8 * 1024;

/// A password from the first line of `input`, without the byte order mark that some shells write
/// before it and without its line ending.
pub fn read_password(input: impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8(line.to_vec());
    // The error of the library would show what was read.
    text.map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the password must be UTF-8 text",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_without_mark_and_line_ending() {
        for (input, password) in [
            (&b"correct horse\n"[..], "correct horse"),
            (b"correct horse", "correct horse"),
            (b"\xef\xbb\xbfcorrect horse\r\n", "correct horse"),
            (b" correct horse \r\nmore\n", " correct horse "),
            (b"Z\xc3\xbcrich\n", "Z\u{fc}rich"),
            // One mark and one ending: what else looks like them is part of the password.
            (b"\xef\xbb\xbf\xef\xbb\xbfa\r\r\n", "\u{feff}a\r"),
            (b"", ""),
            (b"\n", ""),
        ] {
            let read = read_password(input).expect("it is text");
            assert_eq!(read, password, "{input:?}");
        }
    }

    #[test]
    fn a_password_in_another_encoding_is_refused_without_showing_it() {
        for input in [
            // UTF-16 with its mark, as PowerShell redirects it, and Latin-1.
            &b"\xff\xfec\0o\0r\0r\0e\0c\0t\0\n\0"[..],
            b"Z\xfcrich\n",
            b"\xc3",
        ] {
            let error = read_password(input).expect_err("it is not UTF-8");
            assert_eq!(error.to_string(), "the password must be UTF-8 text");
        }
    }
}
