//! Virus scans by clamd over TCP, streamed and bounded.

mod config;
mod scanner;

pub use config::{ScannerAddress, ScannerConfig, ScannerSettings};
pub use scanner::{ScanError, Scanner, Verdict};
