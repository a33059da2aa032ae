//! Checks of a new password: words of the account's context (NIST SP 800-63B-4 §3.1.1.2, OWASP ASVS 5.0
//! §6.2.11), and known breaches.

use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::error::Error;
use crate::infra::NewPassword;
use crate::state::AppState;
use crate::users::EmailAddress;

/// Returns the password, prepared for hashing. The outcome depends on the request alone, so it does not reveal
/// whether an account exists.
pub(crate) async fn check_new_password(
    state: &AppState,
    password: NewPassword,
    email: &EmailAddress,
    field: &'static str,
) -> Result<SecretString, Error> {
    let password = password.into_secret();
    let words = ContextWords::of(email.as_str(), &state.mail.product_name);
    if words.are_most_of(password.expose_secret()) {
        return Err(Error::GuessablePassword(field));
    }
    if let Some(breaches) = &state.breaches
        && breaches.knows(&password).await?
    {
        return Err(Error::BreachedPassword(field));
    }
    Ok(password)
}

/// A shorter word does not count as a part: half of all passwords contain one.
const SHORTEST_PART: usize = 3;

/// Context words (address, product) that a password must not consist of.
struct ContextWords(Vec<Vec<char>>);

impl ContextWords {
    /// The address, its local part, the names in that, and the product's name.
    fn of(email: &str, product: &str) -> Self {
        let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
        let names = local.split(|c: char| !c.is_alphanumeric());
        let mut words: Vec<_> = [email, local, product]
            .into_iter()
            .chain(names)
            .map(fold)
            .filter(|word| !word.is_empty())
            .collect();
        words.sort_unstable();
        words.dedup();
        Self(words)
    }

    /// Returns whether the words are the password or more than half of it. Case, spaces and punctuation are
    /// ignored, and so are digits before and after.
    fn are_most_of(&self, password: &str) -> bool {
        let whole = fold(password);
        let core = trim_digits(&whole);
        if self.0.iter().any(|word| *word == whole || word == core) {
            return true;
        }
        let mut is_covered = vec![false; core.len()];
        for word in self.0.iter().filter(|word| word.len() >= SHORTEST_PART) {
            for (start, part) in core.windows(word.len()).enumerate() {
                if part == word {
                    is_covered[start..start + word.len()].fill(true);
                }
            }
        }
        let covered = is_covered.iter().filter(|covered| **covered).count();
        2 * covered > core.len()
    }
}

/// Letters and digits alone, in lower case.
fn fold(text: &str) -> Vec<char> {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.filter(|c| c.is_alphanumeric()).collect()
}

fn trim_digits(text: &[char]) -> &[char] {
    let is_letter = |c: &char| !c.is_numeric();
    match (
        text.iter().position(is_letter),
        text.iter().rposition(is_letter),
    ) {
        (Some(first), Some(last)) => &text[first..=last],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(password: &str) -> bool {
        ContextWords::of("ada.lovelace@example.com", "Acme Rockets").are_most_of(password)
    }

    #[test]
    fn the_address_and_the_products_name_are_guessed_however_they_are_written() {
        for password in [
            "ada.lovelace@example.com",
            "Ada.Lovelace@Example.COM",
            "ada.lovelace",
            "AdaLovelace",
            "lovelace",
            "Lovelace1815!",
            "1815 lovelace",
            "2026-Ada_Lovelace-2026",
            "acmerockets",
            "Acme-Rockets 2026!!!",
            "acme rockets rule",
            "AdaAdaAda",
            "ada@acmerockets",
        ] {
            assert!(guessed(password), "{password}");
        }
    }

    #[test]
    fn a_password_that_only_mentions_them_is_not() {
        for password in [
            "correct horse battery staple",
            "lovelace wrote programs for engines",
            "my rockets at acme never came back",
            "Canada-Nevada-armada",
            "12345678",
            "!!!!!!!!",
            "",
            "été à la plage",
        ] {
            assert!(!guessed(password), "{password}");
        }
    }

    #[test]
    fn a_short_name_counts_as_a_whole_and_not_as_a_part() {
        let words = ContextWords::of("al@example.com", "X");
        assert!(words.are_most_of("al-123456"));
        assert!(words.are_most_of("2026 x 2026"));
        assert!(!words.are_most_of("alalalalbama"));
        let digits = ContextWords::of("4711081500@example.com", "Acme");
        assert!(digits.are_most_of("4711081500"));
        assert!(!digits.are_most_of("0815-4711"));
    }
}
