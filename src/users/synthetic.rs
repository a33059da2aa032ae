//! The synthetic account, which smoke checks of a release sign in as. It is recognised by its domain: nobody receives
//! emails in `.invalid` (RFC 2606), so that nobody can verify an address there.

use email_transport::EmailAddress;

/// Its address.
pub const SYNTHETIC_ADDRESS: &str = "smoke-check@synthetic.invalid";

#[must_use]
pub fn synthetic_address() -> EmailAddress {
    let address = SYNTHETIC_ADDRESS.to_owned().try_into();
    address.expect("the address is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_well_formed_and_canonical() {
        assert_eq!(synthetic_address().as_str(), SYNTHETIC_ADDRESS);
    }
}
