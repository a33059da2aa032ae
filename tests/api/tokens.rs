//! Access tokens: what is taken for one, and what never is.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use groundwork::config::Key32;
use groundwork::infra::TokenKeys;
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
    let own = |typ: &str, claims: &Value| app.state.keys.sign(typ, claims).expect("it is signed");
    let foreign = TokenKeys::new(
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
async fn after_a_change_of_keys_old_tokens_run_on_and_new_ones_are_signed_anew() {
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
