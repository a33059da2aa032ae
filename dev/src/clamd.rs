//! A private clamd for the tests, whose one signature is that of the EICAR test file.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, Account, OnOurDeath, Server, Signal},
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Text that every scanner reports, as agreed with EICAR. In two parts, so that no scanner finds it in this file.
pub const EICAR: [&str; 2] = [
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR",
    "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*",
];

/// Name of its signature, as clamd reports it.
pub const EICAR_SIGNATURE: &str = "Eicar-Test.UNOFFICIAL";

/// MiB of the longest stream.
pub const MAX_MIB: u64 = 1;

/// A running scanner; dropping it stops it.
#[derive(Debug)]
pub struct Clamd {
    _server: Server,
    port: u16,
    _scratch: Scratch,
}

impl Clamd {
    /// Starts a scanner on a free port.
    pub async fn throw_away() -> Result<Self> {
        if files::on_path("clamd").is_none() {
            packages::install(&[Package::Clamd])?;
        }
        let program =
            files::on_path("clamd").ok_or_else(|| Error::Missing(Package::Clamd.advice()))?;
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let port = ports::any()?.port;
        let signatures = scratch.path().join("test.ndb");
        let settings = scratch.path().join("clamd.conf");
        // Name, any type of file, any offset, bytes.
        let mut signature = "Eicar-Test:0:*:".to_owned();
        for byte in EICAR.concat().bytes() {
            // A string takes everything.
            let _ = write!(signature, "{byte:02x}");
        }
        signature.push('\n');
        let text = format!(
            "Foreground yes\nTCPAddr 127.0.0.1\nTCPSocket {port}\nDatabaseDirectory {directory}\n\
             TemporaryDirectory {directory}\nMaxThreads 2\nStreamMaxLength {MAX_MIB}M\n",
            directory = scratch.path().display(),
        );
        fs::write(&signatures, signature).doing(|| "write the scanner's signatures".into())?;
        fs::write(&settings, text).doing(|| "write the scanner's settings".into())?;
        let mut command =
            process::command(program.as_os_str(), account.as_ref(), OnOurDeath::Terminate);
        command.arg("--config-file").arg(&settings);
        let log = scratch.path().join("log");
        let mut server = Server::start("clamd", &mut command, Signal::TERM, Some(&log))?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            server.check()?;
            if began.elapsed() > START_LIMIT {
                return Err(server.unresponsive(START_LIMIT.as_secs()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            _server: server,
            port,
            _scratch: scratch,
        })
    }

    /// Its address, as `SCANNER_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
