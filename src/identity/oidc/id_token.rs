//! Verifies ID tokens: OpenID Connect Core 1.0, section 3.1.3.7, whose steps the comments number.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Number, Value as Json};

use super::discovery::Metadata;

/// Maximum length of a subject (section 2).
const MAX_SUBJECT_LEN: usize = 255;

/// A person's identity, as the provider states it.
pub struct ExternalIdentity {
    pub issuer: String,
    pub subject: String,
    /// `None`, unless the provider has verified the address.
    pub verified_email: Option<String>,
}

/// Why a token was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    #[error(transparent)]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("`{0}` of its header is not supported")]
    Header(&'static str),
    #[error("the provider's metadata do not name its algorithm, {0:?}")]
    Algorithm(Algorithm),
    #[error("{0} of the provider's keys fit, not one")]
    Keys(usize),
    #[error("its claim `{0}` is wrong")]
    Claim(&'static str),
}

/// Claims that are used here (section 2).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    /// Required, but not compared: the nonce ties the token to an attempt of the last minutes (step 10).
    #[serde(rename = "iat")]
    _issued_at: Number,
    nonce: Option<String>,
    email: Option<String>,
    email_verified: Option<Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Verifies `token`, which must have been issued to `client` for the attempt with `nonce`.
pub fn verify(token: &str, metadata: &Metadata, client: &str, nonce: &str) -> Result<ExternalIdentity, IdTokenError> {
    // Step 1: tokens are not encrypted; an encrypted one has no header that can be read here. The same holds for `none`.
    let header = decode_header(token)?;
    check_header(&header)?;
    // Steps 7 and 8: the algorithm is one that the metadata name, and never one with a shared secret.
    if !metadata.algorithms.contains(&header.alg) {
        return Err(IdTokenError::Algorithm(header.alg));
    }
    let key = DecodingKey::from_jwk(signing_key(metadata, &header)?)?;
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    // Steps 2 and 3.
    validation.set_issuer(&[&metadata.issuer]);
    validation.set_audience(&[client]);
    // Step 9: the current time must be before `exp`; so a token is refused from that second on.
    validation.leeway = 0;
    validation.reject_tokens_expiring_in_less_than = 1;
    // Step 6: the signature, and then the claims above.
    let claims = decode::<Claims>(token, &key, &validation)?.claims;
    check_claims(&claims, client, nonce)?;
    let verified = is_true(claims.email_verified.as_ref());
    Ok(ExternalIdentity { issuer: claims.iss, subject: claims.sub, verified_email: claims.email.filter(|_| verified) })
}

/// RFC 7515, section 4.1.
fn check_header(header: &Header) -> Result<(), IdTokenError> {
    // Section 4.1.9: `application/` may be left out, and case does not count.
    if let Some(stated) = &header.typ {
        let stated = stated.to_ascii_lowercase();
        if !["jwt", "jose"].contains(&stated.strip_prefix("application/").unwrap_or(&stated)) {
            return Err(IdTokenError::Header("typ"));
        }
    }
    // Section 4.1.10: it would announce a token within the token.
    if header.cty.is_some() {
        return Err(IdTokenError::Header("cty"));
    }
    // Section 4.1.11: extensions that must be understood; none is.
    if header.crit.is_some() {
        return Err(IdTokenError::Header("crit"));
    }
    Ok(())
}

/// Returns the provider's key that the header means. With several keys the header must name one (section 10.1).
fn signing_key<'m>(metadata: &'m Metadata, header: &Header) -> Result<&'m Jwk, IdTokenError> {
    let named = |key: &&Jwk| header.kid.is_none() || header.kid == key.common.key_id;
    let fitting: Vec<&Jwk> = metadata.keys.keys.iter().filter(named).filter(|key| fits(key, header.alg)).collect();
    match fitting[..] {
        [key] => Ok(key),
        _ => Err(IdTokenError::Keys(fitting.len())),
    }
}

/// Whether `key` is for signatures (RFC 7517, section 4.2), with this algorithm (4.4), of its type and curve (RFC 7518,
/// section 3.1): the header's algorithm never decides how a key is used.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let used = key.common.public_key_use.as_ref().is_none_or(|stated| *stated == PublicKeyUse::Signature);
    let meant = key.common.key_algorithm.is_none_or(|stated| stated == KeyAlgorithm::from(algorithm));
    let typed = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), _) => algorithm.family() == AlgorithmFamily::Rsa,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    used && meant && typed
}

fn check_claims(claims: &Claims, client: &str, nonce: &str) -> Result<(), IdTokenError> {
    // Step 3: no other audience is trusted, because it could present the token here.
    let only_this = match &claims.aud {
        Audience::One(audience) => audience == client,
        Audience::Several(audiences) => audiences.iter().all(|audience| audience == client),
    };
    if !only_this {
        return Err(IdTokenError::Claim("aud"));
    }
    // Steps 4 and 5: with several audiences the token is refused already; a party that it names must be this client.
    if claims.azp.as_ref().is_some_and(|party| party != client) {
        return Err(IdTokenError::Claim("azp"));
    }
    // Step 11.
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(IdTokenError::Claim("nonce"));
    }
    if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_LEN {
        return Err(IdTokenError::Claim("sub"));
    }
    Ok(())
}

/// Section 5.1 has a boolean; some providers send a string.
fn is_true(claim: Option<&Json>) -> bool {
    claim.is_some_and(|claim| claim == &Json::Bool(true) || claim.as_str() == Some("true"))
}
