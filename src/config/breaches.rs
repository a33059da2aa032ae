//! The settings of the check of new passwords against known breaches.

use std::time::Duration;

use url::Url;

use super::reader::Reader;
use super::safety;
use super::setting::{Flag, WebUrl, secs};

/// The service that knows which passwords have leaked, and what to do without it.
#[derive(Clone, Debug)]
pub struct BreachConfig {
    /// `BREACH_CHECK_URL`: what speaks the range API of Have I Been Pwned; without it nothing is
    /// checked.
    pub url: Url,
    /// `BREACH_CHECK_TIMEOUT`: for its whole answer.
    pub timeout: Duration,
    /// `BREACH_CHECK_FAIL_OPEN`: whether a password that could not be checked is taken.
    pub fail_open: bool,
}

impl Reader<'_> {
    /// All three are read even when the first is unset, so that a fault in them is seen before.
    #[expect(
        clippy::option_option,
        reason = "faulty, unset and set are three cases"
    )]
    pub(super) fn breaches(&mut self) -> Option<Option<BreachConfig>> {
        let url = self.optional::<WebUrl>("BREACH_CHECK_URL");
        let timeout = self.duration_up_to("BREACH_CHECK_TIMEOUT", secs(1), secs(60));
        let fail_open = self.or("BREACH_CHECK_FAIL_OPEN", Flag(true));
        let open = url.as_ref().is_some_and(|url| {
            !safety::is_encrypted_or_private(&url.0.as_str().into(), &["https"])
        });
        self.refuse_if(
            open,
            "BREACH_CHECK_URL",
            "must be https outside of a private network",
        );
        let (timeout, fail_open) = (timeout?, fail_open?.0);
        Some(url.map(|url| BreachConfig {
            url: url.0,
            timeout,
            fail_open,
        }))
    }
}
