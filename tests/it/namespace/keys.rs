//! The keys that verify tokens: which are taken, which are refused, and which are skipped.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use vestibule::pending::{JwtAlgorithm, NamespaceKind, VerifyingKeys, VerifyingKeysError};

use super::{
    kind, refusal,
    tokens::{Issuer, claims, issuer, jwks, jwks_text, public_algorithms},
    with_keys,
};
use crate::properties::pkce::shared_keys;

async fn kind_with(keys: VerifyingKeys, bearer_token: &str) -> NamespaceKind {
    kind(&with_keys(&shared_keys()).claims_namespace(keys), bearer_token).await
}

/// Every algorithm, in every form that a key comes in; and no key passes for another algorithm's.
#[tokio::test]
async fn each_algorithm_verifies_in_each_form() {
    let algorithms = public_algorithms();
    for (algorithm, issuer) in &algorithms {
        let signed = issuer.sign(&claims(json!({})));
        for keys in [
            issuer.keys(),
            VerifyingKeys::from_pem(&issuer.pem(), *algorithm).unwrap(),
            VerifyingKeys::from_pem(&issuer.pem().replace('\n', "\r\n"), *algorithm).unwrap(),
            VerifyingKeys::from_der(&issuer.der(), *algorithm).unwrap(),
        ] {
            assert_eq!(kind_with(keys, &signed).await, NamespaceKind::Email, "{algorithm:?}");
        }
        for (other, _) in &algorithms {
            let both_rsa = [algorithm, other]
                .iter()
                .all(|one| matches!(format!("{one:?}").as_bytes()[0], b'R' | b'P'));
            let taken = VerifyingKeys::from_der(&issuer.der(), *other).is_ok();
            assert_eq!(taken, other == algorithm || both_rsa, "{algorithm:?} as {other:?}");
        }
    }
    for (algorithm, name, length) in [
        (JwtAlgorithm::Hs256, Algorithm::HS256, 32),
        (JwtAlgorithm::Hs384, Algorithm::HS384, 48),
        (JwtAlgorithm::Hs512, Algorithm::HS512, 64),
    ] {
        let secret = vec![7; length];
        let signing = EncodingKey::from_secret(&secret);
        let signed = encode(&Header::new(name), &claims(json!({})), &signing).unwrap();
        let keys = VerifyingKeys::from_secret(&secret, algorithm).unwrap();
        assert_eq!(kind_with(keys, &signed).await, NamespaceKind::Email);
        let short = VerifyingKeys::from_secret(&secret[1..], algorithm).unwrap_err();
        assert_eq!(short, VerifyingKeysError::Secret { algorithm, length: length - 1 });
    }
}

/// A set as issuers publish it: names repeat or are missing, and half of it is not for us.
#[tokio::test]
async fn a_set_is_read_for_what_is_of_use() {
    let (ours, rsa) = (issuer(), Issuer::new("rsa", Algorithm::RS256));
    let [mut enc, mut wrap, mut bare, mut future] = [(); 4].map(|()| ours.jwk());
    enc["use"] = json!("enc");
    wrap["key_ops"] = json!(["wrapKey"]);
    bare.as_object_mut().unwrap().retain(|name, _| name != "alg" && name != "use" && name != "kid");
    future["alg"] = json!("ES257");
    let mut bare_rsa = rsa.jwk();
    bare_rsa.as_object_mut().unwrap().remove("alg");
    let mut confused = rsa.jwk();
    confused["alg"] = json!("HS256");
    let oct = json!({ "kty": "oct", "alg": "HS256", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA" });
    let useless = [
        enc,
        wrap,
        future,
        confused,
        oct,
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "alg": "ES256" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": 7 }),
        json!("key"),
        json!(null),
    ];
    for entry in &useless {
        let alone = VerifyingKeys::from_jwks(&jwks_text([entry.clone()])).unwrap_err();
        assert_eq!(alone, VerifyingKeysError::NoneUsable { found: 1 }, "{entry}");
    }
    let all = jwks(useless.into_iter().chain([bare.clone(), bare_rsa]));
    assert_eq!(format!("{all:?}"), "VerifyingKeys(2)");
    for signed in [ours.sign(&claims(json!({}))), rsa.sign(&claims(json!({})))] {
        assert_eq!(kind_with(all.clone(), &signed).await, NamespaceKind::Email);
    }

    // Two keys of one name, as during a change of keys that was done badly: both are tried.
    let twin = Issuer::new("main", Algorithm::ES256);
    for set in [[twin.jwk(), ours.jwk()], [ours.jwk(), twin.jwk()]] {
        let unnamed = Header::new(Algorithm::ES256);
        for signed in [
            ours.sign(&claims(json!({}))),
            twin.sign(&claims(json!({}))),
            ours.sign_with(&unnamed, &claims(json!({}))),
        ] {
            assert_eq!(kind_with(jwks(set.clone()), &signed).await, NamespaceKind::Email);
        }
        // The reason is that of the key that signed it, whichever is tried first.
        let expired = ours.sign(&claims(json!({ "exp": 1 })));
        let provider = with_keys(&shared_keys()).claims_namespace(jwks(set));
        let why = refusal(&provider, &expired).await.unwrap();
        assert_eq!(why.to_string(), "the bearer token is expired");
    }
}

/// What is not a key says so, and how to get one; never what it was.
#[test]
fn what_is_not_a_key_is_refused_in_words() {
    for text in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":[}"#, &"[".repeat(1 << 16)] {
        assert_eq!(VerifyingKeys::from_jwks(text).unwrap_err(), VerifyingKeysError::Jwks);
    }
    let none = VerifyingKeys::from_jwks(r#"{"keys":[]}"#).unwrap_err();
    assert_eq!(none, VerifyingKeysError::NoneUsable { found: 0 });
    let many = jwks_text((0..65).map(|_| issuer().jwk()));
    let many = VerifyingKeys::from_jwks(&many).unwrap_err();
    assert_eq!(many, VerifyingKeysError::TooMany { found: 65 });

    let rsa = Issuer::new("rsa", Algorithm::RS256);
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (text, algorithm) in [
        (String::new(), JwtAlgorithm::Es256),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----".to_owned(), JwtAlgorithm::Rs256),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), JwtAlgorithm::Rs256),
        (issuer().pem()[..60].to_owned(), JwtAlgorithm::Es256),
        (private, JwtAlgorithm::Es256),
        (rsa.pem(), JwtAlgorithm::Hs256),
        (issuer().pem(), JwtAlgorithm::Hs512),
    ] {
        let error = VerifyingKeys::from_pem(&text, algorithm).unwrap_err();
        assert_eq!(error, VerifyingKeysError::Public { algorithm });
        assert!(error.to_string().contains("openssl pkey -pubout"));
    }
    let mut longer = issuer().der();
    longer.push(0);
    assert!(VerifyingKeys::from_der(&longer, JwtAlgorithm::Es256).is_err());
    let secret = VerifyingKeys::from_secret(&rsa.der(), JwtAlgorithm::Rs256).unwrap_err();
    assert!(matches!(secret, VerifyingKeysError::Secret { .. }));
}
