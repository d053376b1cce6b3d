//! Issuers that sign tokens, with fresh keys.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
use serde_json::{Value, json};
use vestibule::pending::{JwtAlgorithm, VerifyingKeys};

/// A key pair, its algorithm, and its name in a set.
pub struct Issuer {
    pub kid: &'static str,
    algorithm: Algorithm,
    pair: KeyPair,
    signing: EncodingKey,
}

impl Issuer {
    pub fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let (pair, signing) = match algorithm {
            Algorithm::ES256 => generated(&PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_der),
            Algorithm::ES384 => generated(&PKCS_ECDSA_P384_SHA384, EncodingKey::from_ec_der),
            Algorithm::EdDSA => generated(&PKCS_ED25519, EncodingKey::from_ed_der),
            _ => rsa_pair(rsa::KeySize::Rsa2048),
        };
        Self { kid, algorithm, pair, signing }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.signing).unwrap()
    }

    pub fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    pub fn der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// Its entry of a JWK set, as issuers write it.
    pub fn jwk(&self) -> Value {
        let mut jwk = if self.algorithm == Algorithm::EdDSA {
            let x = Base64UrlUnpadded::encode_string(self.pair.public_key_raw());
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
        } else {
            json!(Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap())
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(format!("{:?}", self.algorithm));
        jwk
    }

    /// The set of this key alone.
    pub fn keys(&self) -> VerifyingKeys {
        jwks([self.jwk()])
    }
}

fn generated(
    kind: &'static rcgen::SignatureAlgorithm,
    signing: fn(&[u8]) -> EncodingKey,
) -> (KeyPair, EncodingKey) {
    let pair = KeyPair::generate_for(kind).unwrap();
    let signing = signing(&pair.serialize_der());
    (pair, signing)
}

fn rsa_pair(size: rsa::KeySize) -> (KeyPair, EncodingKey) {
    let made = rsa::KeyPair::generate(size).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = made.as_der().unwrap();
    // PKCS #8 puts 26 bytes around the RSA key, which is what the signer takes.
    let signing = EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]);
    (KeyPair::try_from(pkcs8.as_ref()).unwrap(), signing)
}

/// The issuer of most tests.
pub fn issuer() -> &'static Issuer {
    static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer::new("main", Algorithm::ES256));
    &ISSUER
}

pub fn jwks(entries: impl IntoIterator<Item = Value>) -> VerifyingKeys {
    VerifyingKeys::from_jwks(&jwks_text(entries)).unwrap_or_else(|error| panic!("{error}"))
}

pub fn jwks_text(entries: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": entries.into_iter().collect::<Vec<_>>() }).to_string()
}

/// Alice's claims for the next hour, with some changed; `null` takes one out.
pub fn claims(changed: Value) -> Value {
    let mut claims = json!({
        "iss": "https://issuer.example",
        "aud": "the-api",
        "sub": "subject-4711",
        "email": "alice@example.com",
        "email_verified": true,
        "exp": get_current_timestamp() + 3600,
    });
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A token of these parts, which nobody signed.
pub fn unsigned(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    format!("{}.{}.{}", part(header), part(claims), Base64UrlUnpadded::encode_string(signature))
}

/// Every algorithm of a public key, and a key for it.
pub fn public_algorithms() -> [(JwtAlgorithm, Issuer); 9] {
    [
        (JwtAlgorithm::Es256, Algorithm::ES256),
        (JwtAlgorithm::Es384, Algorithm::ES384),
        (JwtAlgorithm::EdDsa, Algorithm::EdDSA),
        (JwtAlgorithm::Rs256, Algorithm::RS256),
        (JwtAlgorithm::Rs384, Algorithm::RS384),
        (JwtAlgorithm::Rs512, Algorithm::RS512),
        (JwtAlgorithm::Ps256, Algorithm::PS256),
        (JwtAlgorithm::Ps384, Algorithm::PS384),
        (JwtAlgorithm::Ps512, Algorithm::PS512),
    ]
    .map(|(ours, theirs)| (ours, Issuer::new("k", theirs)))
}
