//! Access tokens: what is taken for one, and what never is.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crypto::{JwtKeys, Key32};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Session, TestApp};

const ME: &str = "/api/v1/users/me";

fn decode(part: &str) -> Value {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .expect("it is base64url");
    serde_json::from_slice(&bytes).expect("it is JSON")
}

fn encode(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

/// The header, the claims and the signature of a token.
fn parts(token: &str) -> (Value, Value, String) {
    let parts: Vec<_> = token.split('.').collect();
    (decode(parts[0]), decode(parts[1]), parts[2].to_owned())
}

async fn status(session: &Session, token: &str) -> u16 {
    let answer = session
        .replica
        .call(Method::GET, ME, Some(token), None)
        .await;
    if answer.status != 200 {
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(
            answer.headers["www-authenticate"],
            "Bearer error=\"invalid_token\""
        );
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn a_token_says_who_for_whom_and_how_long() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (header, claims, _) = parts(ada.access());
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["typ"], "at+jwt");
    let keys = app.get("/.well-known/jwks.json").await;
    assert_eq!(header["kid"], keys.body["keys"][0]["kid"]);
    assert_eq!(keys.body["keys"][0]["kty"], "OKP");
    assert_eq!(keys.headers["cache-control"], "public, max-age=300");
    assert!(
        keys.body["keys"][0].get("d").is_none(),
        "the private half stays here"
    );
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("http://127.0.0.1"), &json!("http://127.0.0.1"))
    );
    let now = app.clock.now().timestamp();
    assert_eq!(
        (&claims["iat"], &claims["nbf"], &claims["exp"]),
        (&json!(now), &json!(now), &json!(now + 900))
    );
    assert_eq!(claims["sub"], ada.get(ME).await.body["id"]);
    assert!(claims["sid"].is_string());
}

#[tokio::test]
async fn a_token_runs_from_its_time_to_its_time_and_the_leeway() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.clock.advance(Duration::from_secs(900 + 29));
    assert_eq!(status(&ada, ada.access()).await, 200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&ada, ada.access()).await, 401);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one list of forgeries")]
async fn whatever_is_not_our_token_is_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (header, claims, signature) = parts(ada.access());
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        encode(&header)
    };
    let claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let body = encode(&claims);
    let own = |typ: &str, claims: &Value| {
        app.state
            .access_tokens
            .keys()
            .sign(typ, claims)
            .expect("it is signed")
    };
    let foreign = JwtKeys::new(
        &[Key32::new([7; 32])],
        "http://127.0.0.1",
        "http://127.0.0.1",
    )
    .expect("it works");
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims
            .as_object_mut()
            .expect("it is an object")
            .remove(name);
        own("at+jwt", &claims)
    };
    assert_eq!(
        status(&ada, &own("at+jwt", &claims)).await,
        200,
        "the forge works"
    );

    let now = app.clock.now().timestamp();
    let public = app.get("/.well-known/jwks.json").await.body["keys"][0]["x"].clone();
    let mut refused = vec![
        ("nothing", String::new()),
        ("junk", "junk".into()),
        ("dots", "..".into()),
        (
            "a flipped claim",
            format!(
                "{}.{}.{signature}",
                encode(&header),
                encode(&claim("sub", json!(uuid::Uuid::nil())))
            ),
        ),
        ("no signature", format!("{}.{body}.", encode(&header))),
        (
            "alg none",
            format!("{}.{body}.", with("alg", json!("none"))),
        ),
        (
            "alg None",
            format!("{}.{body}.{signature}", with("alg", json!("None"))),
        ),
        (
            "alg HS256",
            format!("{}.{body}.{signature}", with("alg", json!("HS256"))),
        ),
        (
            "alg RS256",
            format!("{}.{body}.{signature}", with("alg", json!("RS256"))),
        ),
        (
            "a foreign kid",
            format!(
                "{}.{body}.{signature}",
                with("kid", json!("../../dev/null"))
            ),
        ),
        (
            "a key set of its own",
            format!(
                "{}.{body}.{signature}",
                with("jku", json!("http://127.0.0.1:9/jwks.json"))
            ),
        ),
        (
            "a key of its own",
            format!(
                "{}.{body}.{signature}",
                with(
                    "jwk",
                    json!({ "kty": "OKP", "crv": "Ed25519", "x": public })
                )
            ),
        ),
        (
            "a foreign key",
            foreign.sign("at+jwt", &claims).expect("it is signed"),
        ),
        ("another type", own("JWT", &claims)),
        (
            "another issuer",
            own("at+jwt", &claim("iss", json!("http://evil"))),
        ),
        (
            "another audience",
            own("at+jwt", &claim("aud", json!("http://evil"))),
        ),
        ("expired", own("at+jwt", &claim("exp", json!(now - 31)))),
        ("not yet", own("at+jwt", &claim("nbf", json!(now + 31)))),
        (
            "expiry as text",
            own("at+jwt", &claim("exp", json!("9999999999"))),
        ),
        ("nobody", own("at+jwt", &claim("sub", json!("nobody")))),
        (
            "an unknown session",
            own("at+jwt", &claim("sid", json!(uuid::Uuid::nil()))),
        ),
        (
            "somebody else's session",
            own("at+jwt", &claim("sub", json!(uuid::Uuid::max()))),
        ),
        ("a refresh token", ada.refresh_token().into()),
        ("far too long", "a".repeat(16_000)),
    ];
    for name in ["iss", "aud", "sub", "sid", "exp", "nbf", "iat"] {
        refused.push((name, without(name)));
    }
    for (what, token) in refused {
        assert_eq!(status(&ada, &token).await, 401, "{what}");
    }
}

/// A token of this header and these claims, in the email as they are given.
fn signed(seed: &[u8; 32], header: &str, claims: &str) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(seed).expect("it is a seed");
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

#[tokio::test]
async fn a_header_that_says_more_than_ours_is_refused_even_under_our_own_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (header, claims, _) = parts(ada.access());
    let claims = claims.to_string();
    let ours: [u8; 32] = std::array::from_fn(|n| u8::try_from(n).expect("it is small"));
    let theirs = [7; 32];
    assert_eq!(
        status(&ada, &signed(&ours, &header.to_string(), &claims)).await,
        200,
        "the forge works"
    );
    let theirs_public = Ed25519KeyPair::from_seed_unchecked(&theirs).expect("it is a seed");
    let x = BASE64_URL_SAFE_NO_PAD.encode(theirs_public.public_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    for (name, value) in [
        ("jku", json!("http://127.0.0.1:9/jwks.json")),
        ("x5u", json!("http://127.0.0.1:9/chain.pem")),
        ("jwk", jwk),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("alg", json!("Ed25519")),
        ("alg", json!("none")),
        ("alg", json!(null)),
        ("alg", json!(["EdDSA"])),
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT ")),
        ("typ", json!(null)),
        ("kid", json!("")),
        ("kid", json!(0)),
        ("kid", json!(null)),
        ("kid", json!("' OR 1=1 --")),
    ] {
        let mut header = header.clone();
        header[name] = value;
        let header = header.to_string();
        for seed in [&ours, &theirs] {
            let token = signed(seed, &header, &claims);
            assert_eq!(status(&ada, &token).await, 401, "{header}");
        }
    }
    for header in [
        "",
        "{}",
        "[]",
        "null",
        "{",
        "\u{fe0f}",
        "{\"alg\":\"EdDSA\"}",
    ] {
        let token = signed(&ours, header, &claims);
        assert_eq!(status(&ada, &token).await, 401, "{header}");
    }
}

#[tokio::test]
async fn our_public_key_is_no_secret_to_sign_with() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (mut header, claims, _) = parts(ada.access());
    let key = app.get("/.well-known/jwks.json").await.body["keys"][0].clone();
    let x = key["x"].as_str().expect("it is text");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(x).expect("it is base64url");
    let secrets = [bytes, x.as_bytes().to_vec(), key.to_string().into_bytes()];
    for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
        header["alg"] = json!(name);
        let text = format!("{}.{}", encode(&header), encode(&claims));
        for secret in &secrets {
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret), text.as_bytes());
            let token = format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
            assert_eq!(status(&ada, &token).await, 401, "{name}");
        }
    }
}

#[tokio::test]
async fn claims_that_make_no_sense_are_refused_even_under_our_own_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (_, claims, _) = parts(ada.access());
    for (name, value) in [
        ("exp", json!(-1)),
        ("exp", json!(0)),
        ("exp", json!(1.5)),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(null)),
        ("exp", json!({})),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("iss", json!(["http://127.0.0.1"])),
        ("iss", json!("http://127.0.0.1/")),
        ("aud", json!(["http://127.0.0.1", "http://evil"])),
        ("aud", json!("http://127.0.0.1.evil")),
        ("aud", json!(null)),
        ("sub", json!(["a"])),
        ("sub", json!(null)),
        ("sid", json!("\u{0}")),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let token = app.state.access_tokens.keys().sign("at+jwt", &claims);
        let token = token.expect("it is signed");
        assert_eq!(status(&ada, &token).await, 401, "{claims}");
    }
    // The ends of numbers neither panic nor wrap.
    let mut endless = claims.clone();
    (endless["exp"], endless["nbf"]) = (json!(i64::MAX), json!(0));
    let token = app.state.access_tokens.keys().sign("at+jwt", &endless);
    assert_eq!(status(&ada, &token.expect("it is signed")).await, 200);
    (endless["exp"], endless["nbf"]) = (json!(i64::MIN), json!(i64::MAX));
    let token = app.state.access_tokens.keys().sign("at+jwt", &endless);
    assert_eq!(status(&ada, &token.expect("it is signed")).await, 401);
}

#[tokio::test]
async fn what_is_not_even_shaped_like_a_token_is_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let good = ada.access().to_owned();
    let (head, rest) = good.split_once('.').expect("it has parts");
    let (body, signature) = rest.split_once('.').expect("it has parts");
    for token in [
        head.to_owned(),
        format!("{head}.{body}"),
        format!("{head}{body}{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{head}..{signature}"),
        format!("{good}="),
        format!("{good}\u{200b}"),
        format!("\u{feff}{good}"),
        good.replace('.', "\u{3002}"),
        good.to_uppercase(),
        "\u{1f40e}.\u{1f40e}.\u{1f40e}".to_owned(),
        format!("{good},{good}"),
        format!("{head}.{body}.{}", "A".repeat(86)),
        format!("{head}.{}.{signature}", "A".repeat(12_000)),
        ".".repeat(4_000),
        "%00".to_owned(),
    ] {
        assert_eq!(status(&ada, &token).await, 401, "{token}");
    }
    assert_eq!(status(&ada, &good).await, 200);
}

#[tokio::test]
async fn odd_authorization_headers_are_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for value in ["Bearer", "Basic YTpi", ada.access(), "Bearer a b", "\u{fc}"] {
        let request = app
            .replica
            .request(Method::GET, ME)
            .header("authorization", value.as_bytes());
        app.replica
            .send(&Method::GET, ME, request)
            .await
            .assert_problem(401, "unauthenticated");
    }
    let twice = app
        .replica
        .request(Method::GET, ME)
        .bearer_auth(ada.access())
        .header("authorization", "Bearer x");
    app.replica
        .send(&Method::GET, ME, twice)
        .await
        .assert_problem(401, "unauthenticated");
    let lower = app
        .replica
        .request(Method::GET, ME)
        .header("authorization", format!("bearer {}", ada.access()));
    app.replica
        .send(&Method::GET, ME, lower)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn after_a_change_of_keys_old_tokens_stay_valid_and_new_ones_use_the_new_key() {
    let app = TestApp::new().await;
    let mut ada = app.sign_in("ada").await;
    let both =
        "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8,AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    ada.replica = app
        .another_replica_with(&[("JWT_SIGNING_KEYS", both)])
        .await;
    assert!(ada.is_signed_in().await);
    let keys = ada.get("/.well-known/jwks.json").await;
    assert_eq!(keys.body["keys"].as_array().map(Vec::len), Some(2));
    let renewed = ada.replica.refresh(ada.refresh_token()).await;
    let renewed = Session {
        replica: ada.replica.clone(),
        tokens: renewed.body,
    };
    assert_ne!(
        parts(renewed.access()).0["kid"],
        parts(ada.access()).0["kid"]
    );
    assert!(renewed.is_signed_in().await);
}
