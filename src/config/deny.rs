//! Deny-lists, which are empty by default.

use axum::http::HeaderName;
use settings::{List, Network, Setting};

settings::settings! {
    /// Clients that are not served.
    #[derive(Default)]
    pub struct DenyConfig {}
    "Denied clients", DenySettings {
        /// Networks and addresses that are not served.
        DENY_NETWORKS => networks: List<Network>,
            check(|network| network.prefix_len() > 0, "must not be every address there is");
        /// Programs that are not served: text found anywhere in `User-Agent`, in any case; `*` stands
        /// for anything between.
        DENY_USER_AGENTS => user_agents: List<AgentPattern>;
        /// Countries that are not served, by the two letters that a trusted proxy sends.
        DENY_COUNTRIES => countries: List<CountryCode>;
        /// Header in which trusted proxies send the country: `CF-IPCountry`; required with
        /// `DENY_COUNTRIES`.
        COUNTRY_HEADER => country_header: Option<HeaderName>;
    }
}

/// Text that a `User-Agent` has somewhere in it, in any case; `*` stands for anything between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPattern(Vec<String>);

impl AgentPattern {
    /// Whether this lower-case text has all parts of the pattern, in their order. Takes time in
    /// proportion to the text, whatever the pattern.
    #[must_use]
    pub fn matches(&self, agent: &str) -> bool {
        let found = self.0.iter().try_fold(agent, |rest, part| {
            rest.split_once(part.as_str()).map(|(_, rest)| rest)
        });
        found.is_some()
    }
}

impl Setting for AgentPattern {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split('*').filter(|part| !part.is_empty());
        let parts: Vec<_> = parts.map(str::to_lowercase).collect();
        // A single letter would match every client.
        let longest = parts.iter().map(String::len).max();
        if longest.is_none_or(|longest| longest < 3) {
            return Err(
                "must be patterns such as badbot or python*requests, with 3 letters at least"
                    .to_owned(),
            );
        }
        Ok(Self(parts))
    }
}

/// Country code (ISO 3166-1), or one of the proxy's own, such as `T1` for Tor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryCode(String);

impl CountryCode {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for CountryCode {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_ascii_uppercase()))
            .ok_or_else(|| "must be codes of two letters, such as AQ".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_in_any_case_and_in_order() {
        let matches = |pattern: &str, agent: &str| {
            let pattern = AgentPattern::parse(pattern).expect("it is one");
            pattern.matches(&agent.to_lowercase())
        };
        assert!(matches("BadBot", "Mozilla/5.0 (compatible; badbot/2.1)"));
        assert!(matches("python*requests", "python-requests/2.31"));
        assert!(matches("*curl*", "curl/8.5"));
        assert!(!matches("python*requests", "requests for python"));
        assert!(!matches("badbot", "goodbot"));
        let hostile = "a".repeat(100_000);
        assert!(!matches(&"*aaa".repeat(40_000), &hostile));
    }

    #[test]
    fn a_pattern_that_matches_everybody_is_rejected() {
        for pattern in ["*", "***", "a", "ab", "*a*b*"] {
            assert!(AgentPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
