//! Networks exempt from a rate limit by client.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Networks of offices, from which many people sign in behind one address.
#[derive(Clone, Debug, Default)]
pub struct ExemptNetworks(Arc<[IpNet]>);

impl ExemptNetworks {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The unspecified address stands for unknown clients and is never exempt.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        let is_listed = |network: &IpNet| network.contains(&client);
        !client.is_unspecified() && self.0.iter().any(is_listed)
    }

    /// Warning about networks wider than those of an office: /24, or /48 with IPv6.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let is_wide = |network: &&IpNet| match network {
            IpNet::V4(network) => network.prefix_len() < 24,
            IpNet::V6(network) => network.prefix_len() < 48,
        };
        let wide = self.0.iter().filter(is_wide).count();
        (wide > 0).then(|| {
            format!("{wide} networks are wider than /24 (IPv6: /48): clients there may guess passwords of any number of accounts")
        })
    }
}

impl From<Vec<IpNet>> for ExemptNetworks {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> ExemptNetworks {
        let parsed = list.iter().map(|text| text.parse().expect("a network"));
        ExemptNetworks(parsed.collect())
    }

    #[test]
    fn an_exempt_client_is_in_a_listed_network_and_known() {
        let exempt = networks(&["203.0.113.0/24", "2001:db8:1::/48", "0.0.0.0/8"]);
        for (client, is_exempt) in [
            ("203.0.113.7", true),
            ("203.0.114.7", false),
            ("2001:db8:1:2::3", true),
            ("2001:db8:2::3", false),
            ("0.0.0.0", false),
        ] {
            let client = client.parse().expect("an address");
            assert_eq!(exempt.contains(client), is_exempt, "{client}");
        }
        assert!(!networks(&[]).contains("127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn networks_wider_than_an_office_cause_a_warning() {
        for (network, warns) in [
            ("203.0.113.0/24", false),
            ("10.0.0.0/8", true),
            ("2001:db8:1::/48", false),
            ("2001:db8::/32", true),
        ] {
            assert_eq!(networks(&[network]).warning().is_some(), warns, "{network}");
        }
    }
}
