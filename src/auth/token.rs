//! Access tokens: short-lived JSON Web Tokens (RFC 7519), signed with HMAC-SHA-256 by a secret that all replicas share.
//!
//! A token only identifies its session. What the session may do is looked up, and validated with every request like an
//! API key's permissions, so a session that has ended is rejected at once, whatever its tokens contain.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::error::{Error, Result};

const ISSUER: &str = "rapport";
/// Tolerated difference between the clocks of replicas.
const LEEWAY: Duration = Duration::from_secs(10);
/// Longest lifetime that can be configured: a token with a longer one is rejected even if its signature is valid.
pub const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

/// The session that a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    pub business: Uuid,
    pub session: Uuid,
    pub user: Uuid,
}

/// Claims of a token (RFC 7519, section 4.1), with the private claims `biz` and `sid`.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Uuid,
    biz: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
}

/// Issues and verifies tokens.
pub struct Tokens {
    signing: EncodingKey,
    reading: DecodingKey,
    validation: Validation,
    lifetime: Duration,
}

impl Tokens {
    /// Creates an issuer of tokens that live for `lifetime`.
    pub fn new(secret: &[u8], lifetime: Duration) -> Self {
        // Only one algorithm: the one that a token's header names is compared, never followed (RFC 8725, section 3.1).
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = LEEWAY.as_secs();
        // Issued tokens have no `nbf`; a token whose `nbf` is in the future is rejected.
        validation.validate_nbf = true;
        Self {
            signing: EncodingKey::from_secret(secret),
            reading: DecodingKey::from_secret(secret),
            validation,
            lifetime,
        }
    }

    pub fn life(&self) -> Duration {
        self.lifetime
    }

    /// Issues a token for `claims`. Errors: 500 when it cannot be signed.
    pub fn issue(&self, claims: SessionClaims) -> Result<String> {
        let now = jsonwebtoken::get_current_timestamp();
        let SessionClaims { business, session, user } = claims;
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user,
            biz: business,
            sid: session,
            iat: now,
            exp: now + self.lifetime.as_secs(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|error| Error::Internal(format!("a token cannot be signed: {error}")))
    }

    /// Verifies `token`; returns its session and its remaining lifetime. Errors: 401.
    pub fn read(&self, token: &str) -> Result<(SessionClaims, Duration)> {
        use jsonwebtoken::errors::ErrorKind;
        let read = decode::<Claims>(token, &self.reading, &self.validation);
        let claims = read.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Error::expired(),
            _ => Error::Unauthenticated,
        })?;
        let Claims { sub, biz, sid, exp, .. } = claims.claims;
        let left = exp.saturating_add(LEEWAY.as_secs()).saturating_sub(jsonwebtoken::get_current_timestamp());
        let left = Duration::from_secs(left);
        // Twice the tolerance between clocks: the issuer's may be ahead.
        if left > MAX_LIFETIME + LEEWAY * 2 {
            return Err(Error::Unauthenticated);
        }
        Ok((SessionClaims { business: biz, session: sid, user: sub }, left))
    }
}

/// Whether a credential has the form of a token: API keys contain no dots.
pub fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.matches('.').count() == 2
}
