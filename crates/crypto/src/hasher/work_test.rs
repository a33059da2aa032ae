//! The work of a comparison does not depend on the account.

use super::*;

fn options(memory_kib: u32, iterations: u32) -> HasherOptions {
    HasherOptions {
        memory_kib,
        iterations,
        parallelism: 1,
        threads: 2,
        queue_timeout: Duration::from_secs(5),
    }
}

fn secret(text: &str) -> SecretString {
    text.into()
}

#[tokio::test]
async fn a_hash_of_the_typed_form_is_found_and_reported_as_such() {
    let hasher = Hasher::start(options(64, 1), Rng::seeded(1));
    let phc = hasher.hash(secret("typed")).await.expect("it is hashed");
    let forms = |prepared: &str, typed: Option<&str>| PasswordForms {
        prepared: secret(prepared),
        typed: typed.map(secret),
    };
    for (forms, found) in [
        (forms("prepared", Some("typed")), Some(PasswordForm::Typed)),
        (forms("typed", Some("other")), Some(PasswordForm::Prepared)),
        (forms("prepared", Some("other")), None),
        (forms("prepared", None), None),
    ] {
        let verified = hasher.verify(forms, &phc).await;
        assert_eq!(verified.expect("it is compared"), found);
    }
}

#[tokio::test]
async fn an_account_with_a_hash_of_lower_cost_takes_the_work_of_an_unknown_one() {
    let hasher =
        |memory_kib, iterations| Hasher::start(options(memory_kib, iterations), Rng::seeded(1));
    let now = hasher(256, 3);
    let two_forms = PasswordForms {
        prepared: secret("correct horse"),
        typed: Some(secret("correct  horse")),
    };
    for (memory_kib, iterations) in [(256, 3), (256, 1), (64, 3), (128, 5)] {
        let before = hasher(memory_kib, iterations);
        let phc = before.hash(secret("correct horse")).await;
        let phc = phc.expect("it is hashed");
        let spent = async |password: PasswordForms, phc: Option<&str>| {
            let began = now.work();
            match phc {
                Some(phc) => drop(now.verify(password, phc).await.expect("it is compared")),
                None => now.verify_dummy(password).await.expect("it is hashed"),
            }
            now.work() - began
        };
        let nobody = spent(secret("x").into(), None).await;
        assert_eq!(nobody, 256 * 3);
        for password in ["correct horse", "correct horses", ""] {
            assert_eq!(spent(secret(password).into(), Some(&phc)).await, nobody);
        }
        let nobody = spent(two_forms.clone(), None).await;
        assert_eq!(nobody, 2 * 256 * 3);
        assert_eq!(spent(two_forms.clone(), Some(&phc)).await, nobody);
    }
}
