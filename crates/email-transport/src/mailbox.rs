//! Spellings of one mailbox.

/// The mailbox of an address: what follows a plus is a tag (RFC 5233), and one large provider ignores dots.
/// For counting only; nothing is sent to it.
#[must_use]
pub fn mailbox_of(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else {
        return address;
    };
    let domain = domain.trim_end_matches('.');
    let local = match local.split_once('+') {
        Some((local, _)) if !local.is_empty() => local,
        _ => local,
    };
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
        _ => format!("{local}@{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_count_together() {
        for (address, mailbox) in [
            ("ada@example.com", "ada@example.com"),
            ("Ada@Example.COM", "ada@example.com"),
            ("ada+news@example.com", "ada@example.com"),
            ("ada+a+b@example.com.", "ada@example.com"),
            ("+ada@example.com", "+ada@example.com"),
            ("a.da@example.com", "a.da@example.com"),
            ("a.d.a+x@gmail.com", "ada@gmail.com"),
            ("ada@googlemail.com", "ada@gmail.com"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(mailbox_of(address), mailbox, "{address}");
        }
    }
}
