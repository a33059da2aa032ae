//! Settings of the scanner.

use std::time::Duration;

use settings::{Mebibytes, Setting};
use url::{Host, Url};

/// Port of clamd.
const PORT: u16 = 3310;

settings::settings! {
    "Virus scanner": "Without `SCANNER_URL` files are not scanned.", ScannerSettings {
        /// Address of clamd (`tcp://clamav:3310`), in a network that nobody else can read: the protocol has no encryption. Files
        /// are served once it has passed them.
        SCANNER_URL => address: Option<ScannerAddress>;
        /// For one file. Longer than clamd's `MaxScanTime`.
        SCANNER_TIMEOUT => timeout: Duration = "3m", within("5s"..="1h");
        /// MiB of the largest file that clamd scans: no more than its `StreamMaxLength` and `MaxFileSize`. Larger files are refused
        /// where files are scanned.
        SCANNER_MAX_MIB => max_size: Mebibytes<u64> = 100, within(1..=4000);
    }
}

#[derive(Clone, Debug)]
pub struct ScannerConfig {
    pub address: ScannerAddress,
    /// For one file.
    pub timeout: Duration,
    /// Bytes of the largest file.
    pub max_size: u64,
}

impl ScannerSettings {
    /// `Some(None)` without an address.
    pub fn into_config(self) -> Option<Option<ScannerConfig>> {
        let (timeout, max_size) = (self.timeout?, self.max_size?);
        Some(self.address?.map(|address| ScannerConfig {
            address,
            timeout,
            max_size,
        }))
    }
}

/// Host and port of clamd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerAddress {
    pub host: String,
    pub port: u16,
}

impl Setting for ScannerAddress {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let url = Url::parse(text).ok()?;
            let is_plain = url.scheme() == "tcp"
                && url.username().is_empty()
                && url.password().is_none()
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.fragment().is_none();
            let host = match url.host().filter(|_| is_plain)? {
                Host::Ipv6(address) => address.to_string(),
                host => host.to_string(),
            };
            Some(Self {
                host,
                port: url.port().unwrap_or(PORT),
            })
        };
        parse().ok_or_else(|| "must be an address such as tcp://clamav:3310".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("tcp://clamav:3311", "clamav", 3311),
            ("tcp://127.0.0.1", "127.0.0.1", 3310),
            ("tcp://[::1]:1/", "::1", 1),
        ] {
            let address = ScannerAddress::parse(text).expect("it is good");
            assert_eq!((address.host.as_str(), address.port), (host, port));
        }
        for bad in [
            "",
            "clamav:3310",
            "http://clamav:3310",
            "tcp://",
            "tcp://user@clamav",
            "tcp://clamav/x",
            "tcp://clamav:99999",
        ] {
            assert!(ScannerAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
