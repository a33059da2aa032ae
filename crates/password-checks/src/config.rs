//! Settings of the check of new passwords against known breaches.

use std::time::Duration;

use settings::WebUrl;
use settings::host::{HTTPS_OR_PRIVATE, is_private_or};

use crate::BreachOptions;

settings::settings! {
    "Known breaches", BreachSettings {
        /// Service with the range API of Have I Been Pwned, such as
        /// `https://api.pwnedpasswords.com`: new passwords of past breaches are refused. It is sent
        /// five of the forty digits of a password's SHA-1 and nothing else.
        BREACH_CHECK_URL => url: Option<WebUrl>,
            production(|url| is_private_or(url, &["https"]), HTTPS_OR_PRIVATE);
        /// For its whole response.
        BREACH_CHECK_TIMEOUT => timeout: Duration = "1s", at_most("60s");
        /// Whether a password is accepted that could not be checked; else the response is 503.
        BREACH_CHECK_FAIL_OPEN => fail_open: bool = true;
    }
}

impl BreachSettings {
    /// `None` of a faulty setting, `Some(None)` where no URL is set.
    pub fn into_options(self, user_agent: &'static str) -> Option<Option<BreachOptions>> {
        let (timeout, fail_open) = (self.timeout?, self.fail_open?);
        Some(self.url?.map(|url| BreachOptions {
            url,
            timeout,
            fail_open,
            user_agent,
        }))
    }
}
