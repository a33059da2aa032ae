//! Report of a diagnosis.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

/// Results of checks, by their names.
#[derive(Debug)]
pub struct Findings {
    /// A good result can have a description.
    results: Vec<(&'static str, Result<Option<String>, String>)>,
    warnings: Vec<(&'static str, String)>,
    timeout: Duration,
}

impl Findings {
    /// Without a result. The time limit is that of each check.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self {
            results: Vec::new(),
            warnings: Vec::new(),
            timeout,
        }
    }

    /// Returns whether no check has found a fault.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.results.iter().all(|(_, result)| result.is_ok())
    }

    /// Adds a warning, which is no fault.
    pub fn warn(&mut self, check: &'static str, warning: impl Into<String>) {
        self.warnings.push((check, warning.into()));
    }

    /// Adds the result of a check; returns whether it is good.
    pub fn add<E: fmt::Display>(&mut self, check: &'static str, result: Result<(), E>) -> bool {
        let result = result.map_err(|error| error.to_string()).map(|()| None);
        self.push(check, result)
    }

    fn push(&mut self, check: &'static str, result: Result<Option<String>, String>) -> bool {
        let is_ok = result.is_ok();
        self.results.push((check, result));
        is_ok
    }

    /// Runs a check within the time limit and adds its result, which `judge` makes of its value; returns whether
    /// it is good.
    pub async fn run<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<T, E>>,
        judge: impl FnOnce(T) -> Result<(), String>,
    ) -> bool {
        let judge = |value| judge(value).map(|()| None);
        self.run_with(name, check, judge).await
    }

    /// As [`Findings::run`], with a description of what was found.
    pub async fn run_described<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<T, E>>,
        judge: impl FnOnce(T) -> Result<String, String>,
    ) -> bool {
        let judge = |value| judge(value).map(Some);
        self.run_with(name, check, judge).await
    }

    async fn run_with<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<T, E>>,
        judge: impl FnOnce(T) -> Result<Option<String>, String>,
    ) -> bool {
        let result = match timeout(self.timeout, check).await {
            Ok(Ok(value)) => judge(value),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("timed out".to_owned()),
        };
        self.push(name, result)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, result) in &self.results {
            match result {
                Ok(None) => writeln!(f, "ok     {check}")?,
                Ok(Some(found)) => writeln!(f, "ok     {check}: {found}")?,
                Err(fault) => writeln!(f, "FAULT  {check}: {fault}")?,
            }
        }
        for (check, warning) in &self.warnings {
            writeln!(f, "warn   {check}: {warning}")?;
        }
        Ok(())
    }
}

/// One result of a list of faults.
pub fn none_of(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_check_is_a_line_and_one_that_hangs_is_a_fault() {
        let mut findings = Findings::new(Duration::from_secs(1));
        assert!(findings.add::<String>("a", Ok(())) && findings.is_healthy());
        let faults = async || Ok::<_, String>(vec!["x".to_owned(), "y".to_owned()]);
        assert!(!findings.run("b", faults(), |all| none_of(&all)).await);
        let pending = std::future::pending::<Result<(), String>>();
        assert!(!findings.run("c", pending, Ok).await);
        assert!(!findings.is_healthy());
        findings.warn("e", "old");
        let found = async || Ok::<_, String>(7);
        let describe = |count| Ok(format!("{count} rows"));
        assert!(findings.run_described("d", found(), describe).await);
        assert_eq!(
            findings.to_string(),
            "ok     a\nFAULT  b: x; y\nFAULT  c: timed out\nok     d: 7 rows\nwarn   e: old\n"
        );
    }
}
