//! The synthetic account, which smoke checks of a release sign in as. It is recognised by its domain: nobody receives
//! emails in `.invalid` (RFC 2606), so that nobody can verify an address there.

/// Its address.
pub const SYNTHETIC_ADDRESS: &str = "smoke-check@synthetic.invalid";

#[cfg(test)]
mod tests {
    use email_transport::EmailAddress;

    use super::*;

    #[test]
    fn the_address_is_well_formed_and_canonical() {
        let address = EmailAddress::try_from(SYNTHETIC_ADDRESS.to_owned());
        assert_eq!(address.expect("it parses").as_str(), SYNTHETIC_ADDRESS);
    }
}
