//! Keys that limits are counted by.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

use crypto::Mac;

/// Client, account, or hash of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Client(IpAddr),
    User(Uuid),
    Hashed([u8; 16]),
    /// Under the first two secrets, during a rotation.
    HashedBoth([u8; 16], [u8; 16]),
}

impl Key {
    /// A client by its [network](network_of).
    #[must_use]
    pub fn client(addr: IpAddr) -> Self {
        Self(Kind::Client(network_of(addr)))
    }

    /// An account.
    #[must_use]
    pub const fn user(id: Uuid) -> Self {
        Self(Kind::User(id))
    }

    pub(crate) fn hashed(hash: &Mac, second: Option<&Mac>) -> Self {
        let half = |hash: &Mac| hash.first_chunk().copied().unwrap_or_default();
        Self(match second {
            Some(second) => Kind::HashedBoth(half(hash), half(second)),
            None => Kind::Hashed(half(hash)),
        })
    }

    /// Number that is the same at every replica and spread evenly.
    pub(crate) fn spread(self) -> usize {
        let mixed = |bytes: &[u8]| {
            // FNV-1a, whose bits the last bytes have hardly reached, and the last step of SplitMix64.
            let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((hash ^ (hash >> 31)) >> 32).unwrap_or_default()
        };
        match self.0 {
            Kind::Client(IpAddr::V4(addr)) => mixed(&addr.octets()),
            Kind::Client(IpAddr::V6(addr)) => mixed(&addr.octets()),
            Kind::User(id) => mixed(id.as_bytes()),
            Kind::Hashed(hash) | Kind::HashedBoth(hash, _) => mixed(&hash),
        }
    }

    /// The one or two keys that are counted by.
    pub(crate) const fn split(self) -> (Self, Option<Self>) {
        match self.0 {
            Kind::HashedBoth(first, second) => {
                (Self(Kind::Hashed(first)), Some(Self(Kind::Hashed(second))))
            }
            _ => (self, None),
        }
    }
}

/// Part of the key in Redis.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Client(addr) => write!(f, "client:{addr}"),
            Kind::User(id) => write!(f, "user:{}", id.simple()),
            Kind::Hashed(hash) | Kind::HashedBoth(hash, _) => {
                write!(f, "hidden:{:032x}", u128::from_be_bytes(hash))
            }
        }
    }
}

/// Network of a customer: an IPv4 address, also one mapped into IPv6, or the /64 of an IPv6 address.
#[must_use]
pub fn network_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_evenly() {
        let mut lanes = [0_u32; 64];
        for id in 0..6_400_u32 {
            let client = Key::client(std::net::Ipv4Addr::from(0x0a00_0000 + id).into());
            lanes[client.spread() % 64] += 1;
        }
        assert!(
            lanes.iter().all(|uses| (50..=150).contains(uses)),
            "{lanes:?}"
        );
    }

    #[test]
    fn a_key_reads_as_what_it_is() {
        let client = |addr: &str| Key::client(addr.parse().unwrap()).to_string();
        assert_eq!(client("203.0.113.9"), "client:203.0.113.9");
        assert_eq!(client("::ffff:203.0.113.9"), "client:203.0.113.9");
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "client:2001:db8:1:2::");
        assert_eq!(client("2001:db8:1:2:ffff::1"), "client:2001:db8:1:2::");
        let user = Key::user(Uuid::from_u128(7)).to_string();
        assert_eq!(user, "user:00000000000000000000000000000007");
        let hidden = Key::hashed(&[0xab; 32], None).to_string();
        assert_eq!(hidden, format!("hidden:{}", "ab".repeat(16)));
    }
}
