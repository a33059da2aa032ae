//! Deny-lists, which are empty by default.

use axum::http::HeaderName;
use http_toolkit::{AgentPattern, DenyConfig};
use settings::{List, Network, Setting};

settings::settings! {
    "Denied clients", DenySettings {
        /// Networks and addresses that are not served.
        DENY_NETWORKS => networks: List<Network>,
            check(|network| network.prefix_len() > 0, "must not be every address there is");
        /// Programs that are not served: text found anywhere in `User-Agent`, in any case; `*` stands
        /// for anything between.
        DENY_USER_AGENTS => user_agents: List<Agent>;
        /// Countries that are not served, by the two letters that a trusted proxy sends.
        DENY_COUNTRIES => countries: List<Country>;
        /// Header in which trusted proxies send the country: `CF-IPCountry`; required with
        /// `DENY_COUNTRIES`.
        COUNTRY_HEADER => country_header: Option<HeaderName>;
    }
}

impl DenySettings {
    pub(super) fn into_config(self) -> Option<DenyConfig> {
        Some(DenyConfig {
            networks: self.networks?,
            user_agents: self.user_agents?,
            countries: self.countries?,
            country_header: self.country_header?,
        })
    }
}

pub(crate) struct Agent;

impl Setting for Agent {
    type Value = AgentPattern;

    fn parse(text: &str) -> Result<AgentPattern, String> {
        text.parse()
    }
}

/// Country code (ISO 3166-1), or one that a proxy makes up, such as `T1` for Tor.
pub(crate) struct Country;

impl Setting for Country {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| text.to_ascii_uppercase())
            .ok_or_else(|| "must be codes of two letters, such as AQ".to_owned())
    }
}
