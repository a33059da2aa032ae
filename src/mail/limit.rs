//! Limits of emails by recipient, independent of who causes them.
//!
//! Classes are limited independently: a client that uses up the limit of one leaves the owner the last emails of
//! that class and all of the others. Emails for signing in (reset, unlock) are limited where they are requested.

use crate::infra::LimitCheck;
use crate::state::AppState;
use crate::web;

/// Class of an email, for its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anybody can cause it by naming an address: one limit for all kinds, by mailbox.
    Open,
    /// Notice to an owner about the account: a limit by kind and address.
    Notice,
    /// Lets an owner sign in; limited where it is requested.
    SignIn,
}

impl Class {
    /// Spends the recipient's limit; returns whether the email may be sent.
    pub async fn admits(self, state: &AppState, kind: &str, to: &str) -> bool {
        let (limit, key) = match self {
            Self::Open => (state.limits.email_address, mailbox_of(to)),
            Self::Notice => (state.limits.notice_address, format!("{kind} {to}")),
            Self::SignIn => return true,
        };
        let check = LimitCheck::spend(limit, state.limiter.hashed_key(&key));
        let is_admitted = web::allows(&state.limiter, &[check]).await;
        if !is_admitted {
            tracing::info!(
                kind,
                limit = limit.name(),
                "email not sent: the recipient's limit is used up"
            );
        }
        is_admitted
    }
}

/// The mailbox of an address: what follows a plus is a tag (RFC 5233), and one large provider ignores dots.
/// For counting only; nothing is sent to it.
fn mailbox_of(address: &str) -> String {
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
