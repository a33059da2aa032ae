//! JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037) under a key ring: the first key signs, all
//! verify. The algorithm is never taken from a token.

mod verified;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::verified::{VerifiedTokens, fingerprint};
use crate::Key32;

/// Key ring for signed tokens.
pub struct JwtKeys {
    signing: Ed25519KeyPair,
    ring: Vec<Member>,
    validation: Validation,
    verified: VerifiedTokens,
}

struct Member {
    public: PublicKey,
    verifying: DecodingKey,
}

/// The public half of a signing key, as a JSON Web Key (RFC 7517, RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct PublicKey {
    /// Key type: an octet key pair.
    #[cfg_attr(feature = "utoipa", schema(example = "OKP"))]
    kty: &'static str,
    /// The curve.
    #[cfg_attr(feature = "utoipa", schema(example = "Ed25519"))]
    crv: &'static str,
    /// What the key is for: signatures.
    #[serde(rename = "use")]
    #[cfg_attr(feature = "utoipa", schema(example = "sig"))]
    usage: &'static str,
    /// The algorithm.
    #[cfg_attr(feature = "utoipa", schema(example = "EdDSA"))]
    alg: &'static str,
    /// The key's id: its RFC 7638 thumbprint.
    #[cfg_attr(
        feature = "utoipa",
        schema(example = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    )]
    kid: String,
    /// The public key, base64url.
    #[cfg_attr(
        feature = "utoipa",
        schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    )]
    x: String,
}

/// Public keys of access tokens (a JWK Set, RFC 7517 §5).
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct KeySet {
    /// The first one signs new tokens.
    pub keys: Vec<PublicKey>,
}

/// The token was not signed by a key of the ring, or for another issuer, audience or type.
#[derive(Debug, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// A signing key is unusable. The message names neither key nor position.
#[derive(Debug, thiserror::Error)]
#[error("a signing key cannot be used")]
pub struct BadKey;

impl PublicKey {
    /// Key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl std::fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.public()).finish()
    }
}

impl JwtKeys {
    /// Creates a key ring from Ed25519 seeds. Signs and verifies one token as a self-test.
    pub fn new(seeds: &[Key32], issuer: &str, audience: &str) -> Result<Self, BadKey> {
        let ring = seeds
            .iter()
            .map(Member::new)
            .collect::<Result<Vec<_>, _>>()?;
        let first = seeds.first().ok_or(BadKey)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The caller compares times, with its clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let keys = Self {
            signing: pair_of(first)?,
            ring,
            validation,
            verified: VerifiedTokens::default(),
        };
        let probe =
            serde_json::json!({ "iss": issuer, "aud": audience, "sub": "", "exp": 0, "nbf": 0 });
        let token = keys.sign("probe", &probe).map_err(|_| BadKey)?;
        keys.verify_uncached::<serde_json::Value>("probe", &token)
            .map_err(|_| BadKey)?;
        Ok(keys)
    }

    /// Signs claims as a token of type `typ` (RFC 8725 §3.11), in the compact form (RFC 7515 §7.1).
    /// Not by the library, which parses the key for each token.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, serde_json::Error> {
        let header = own_header(typ, &self.ring[0].public.kid);
        let mut token = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self.signing.sign(token.as_bytes());
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Verifies a token of type `typ`, or finds it in the cache, and returns its claims. Does not check
    /// `exp` and `nbf`.
    pub fn verify<C>(&self, typ: &str, token: &str) -> Result<Arc<C>, InvalidToken>
    where
        C: DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let fingerprint = fingerprint(typ, token);
        if let Some(claims) = self.verified.get(&fingerprint) {
            return Ok(claims);
        }
        let claims = Arc::new(self.verify_uncached::<C>(typ, token)?);
        self.verified.insert(fingerprint, claims.clone());
        Ok(claims)
    }

    fn verify_uncached<C: DeserializeOwned + Clone>(
        &self,
        typ: &str,
        token: &str,
    ) -> Result<C, InvalidToken> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidToken)?;
        let member = self
            .ring
            .iter()
            .find(|member| header.kid.as_ref() == Some(&member.public.kid))
            .ok_or(InvalidToken)?;
        // No other header parameters: no key reference, and no `crit` (RFC 7515 §4.1.11), which the
        // library ignores.
        if header != own_header(typ, &member.public.kid) {
            return Err(InvalidToken);
        }
        let data = jsonwebtoken::decode::<C>(token, &member.verifying, &self.validation);
        data.map(|data| data.claims).map_err(|_| InvalidToken)
    }

    /// Public keys as a JSON document.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        KeySet {
            keys: self.public().cloned().collect(),
        }
    }

    /// Public keys, the signing one first.
    pub fn public(&self) -> impl Iterator<Item = &PublicKey> {
        self.ring.iter().map(|member| &member.public)
    }
}

fn own_header(typ: &str, kid: &str) -> Header {
    Header {
        typ: Some(typ.to_owned()),
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    }
}

fn pair_of(seed: &Key32) -> Result<Ed25519KeyPair, BadKey> {
    Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| BadKey)
}

impl Member {
    fn new(seed: &Key32) -> Result<Self, BadKey> {
        let pair = pair_of(seed)?;
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
        // Canonical form of RFC 7638 §3.3.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        let verifying = DecodingKey::from_ed_components(&x).map_err(|_| BadKey)?;
        let public = PublicKey {
            kty: "OKP",
            crv: "Ed25519",
            usage: "sig",
            alg: "EdDSA",
            kid,
            x,
        };
        Ok(Self { public, verifying })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_thumbprint() {
        // The key of RFC 8037, appendix A.1 to A.3.
        let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
            .parse()
            .expect("it is a seed");
        let keys = JwtKeys::new(&[seed], "us", "them").expect("the key works");
        let public = keys.public().next().expect("there is one");
        assert_eq!(public.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(public.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn an_older_key_of_the_ring_still_verifies_and_a_foreign_one_never() {
        let [old, new, foreign] = [1, 2, 3].map(|byte| Key32::new([byte; 32]));
        let claims =
            serde_json::json!({ "iss": "us", "aud": "them", "sub": "x", "exp": 0, "nbf": 0 });
        let sign = |key: &Key32, claims: &serde_json::Value| {
            let keys = JwtKeys::new(std::slice::from_ref(key), "us", "them").expect("it works");
            keys.sign("at+jwt", claims).expect("it is signed")
        };
        let ring = JwtKeys::new(&[new.clone(), old.clone()], "us", "them").expect("it works");
        let verify = |typ: &str, token: &str| ring.verify::<serde_json::Value>(typ, token).is_ok();
        assert!(verify("at+jwt", &sign(&old, &claims)));
        assert!(verify("at+jwt", &sign(&new, &claims)));
        assert!(!verify("at+jwt", &sign(&foreign, &claims)));
        assert!(!verify("other", &sign(&new, &claims)));
        for (claim, value) in [("iss", "me"), ("aud", "me")] {
            let mut wrong = claims.clone();
            wrong[claim] = value.into();
            assert!(!verify("at+jwt", &sign(&new, &wrong)), "{claim}");
        }
        for claim in ["iss", "aud", "sub", "exp", "nbf"] {
            let mut short = claims.clone();
            short
                .as_object_mut()
                .expect("it is an object")
                .remove(claim);
            assert!(!verify("at+jwt", &sign(&new, &short)), "{claim}");
        }
    }

    #[test]
    fn a_cached_token_is_verified_by_its_type_and_signature_as_at_first() {
        let [own, foreign] = [1, 2].map(|byte| {
            let keys = JwtKeys::new(&[Key32::new([byte; 32])], "us", "them");
            keys.expect("the key works")
        });
        let claims =
            serde_json::json!({ "iss": "us", "aud": "them", "sub": "x", "exp": 0, "nbf": 0 });
        let sign = |keys: &JwtKeys| keys.sign("at+jwt", &claims).expect("it is signed");
        let (token, forged) = (sign(&own), sign(&foreign));
        let verify = |typ, token: &str| own.verify::<serde_json::Value>(typ, token);
        let [first, again] = [(); 2].map(|()| verify("at+jwt", &token).expect("it is valid"));
        assert!(Arc::ptr_eq(&first, &again), "it is cached");
        for _ in 0..2 {
            assert!(verify("other", &token).is_err());
            assert!(verify("at+jwt", &forged).is_err());
        }
    }
}
