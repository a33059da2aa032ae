//! What was found, as a table that can be pasted into a note.

use std::fmt;

/// One promise and what became of it.
pub(crate) struct Finding {
    /// What was measured.
    pub(crate) what: &'static str,
    /// What we came to.
    pub(crate) ours: Figure,
    /// What it is held against, where there is something beside it.
    pub(crate) bare: Option<Figure>,
    /// What is promised of the two.
    pub(crate) promise: Promise,
}

/// A measured number with its unit.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// Replies, or hashes, a second.
    Rate(f64),
    /// Milliseconds.
    Millis(f64),
    /// MiB of resident memory.
    Mebibytes(f64),
    /// A bare count.
    Count(f64),
}

/// What is promised.
#[derive(Clone, Copy)]
pub(crate) enum Promise {
    /// Ours divided by the bare one's is at least this.
    AtLeast(f64),
    /// Ours divided by the bare one's is at most this.
    AtMost(f64),
    /// Ours alone is at most this.
    Below(f64),
    /// Reported without a promise.
    None,
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Rate(value)
            | Self::Millis(value)
            | Self::Mebibytes(value)
            | Self::Count(value) => value,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate:.0}/s"),
            Self::Millis(millis) => write!(f, "{millis:.1} ms"),
            Self::Mebibytes(mebibytes) => write!(f, "{mebibytes:.0} MiB"),
            Self::Count(count) => write!(f, "{count:.0}"),
        }
    }
}

impl Finding {
    fn ratio(&self) -> Option<f64> {
        Some(self.ours.value() / self.bare?.value())
    }

    fn is_kept(&self) -> bool {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        match self.promise {
            Promise::AtLeast(least) => ratio >= least,
            Promise::AtMost(most) => ratio <= most,
            Promise::Below(most) => self.ours.value() <= most,
            Promise::None => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.bare.map(|bare| bare.to_string()).unwrap_or_default();
        let ratio = self
            .ratio()
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default();
        let promise = match self.promise {
            Promise::AtLeast(least) => format!("≥ {least}"),
            Promise::AtMost(most) | Promise::Below(most) => format!("≤ {most}"),
            Promise::None => String::new(),
        };
        let kept = match (&self.promise, self.is_kept()) {
            (Promise::None, _) => "",
            (_, true) => "kept",
            (_, false) => "MISSED",
        };
        let ours = self.ours.to_string();
        write!(
            f,
            "| {:<46} | {ours:>10} | {bare:>10} | {ratio:>6} | {promise:>7} | {kept:<6} |",
            self.what
        )
    }
}

/// Prints the table.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn print(findings: &[Finding]) {
    println!(
        "| {:<46} | {:>10} | {:>10} | {:>6} | {:>7} | {:<6} |",
        "measured", "ours", "bare", "ratio", "promise", ""
    );
    println!(
        "| {:-<46} | {:->10} | {:->10} | {:->6} | {:->7} | {:-<6} |",
        "", "", "", "", "", ""
    );
    for finding in findings {
        println!("{finding}");
    }
}

/// Says what is going on.
#[expect(
    clippy::print_stderr,
    reason = "the table alone goes to standard output"
)]
pub(crate) fn tell(what: &str) {
    eprintln!("{what}");
}

/// Says why there is nothing to print.
pub(crate) fn complain(command: &str, error: &groundwork_dev::Error) {
    tell(&format!("{command}: {error}"));
}
