//! Access tokens: short-lived JSON Web Tokens (RFC 7519), signed with HMAC-SHA-256 by a secret that all replicas share.
//!
//! A token only says which session it belongs to. What that session may do is looked up, and validated with every
//! request like what an API key may do; so a session that has ended is refused at once, whatever its tokens say.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

const ISSUER: &str = "rapport";
/// How far the clocks of replicas may differ.
const LEEWAY: Duration = Duration::from_secs(10);
/// The longest that a token may be configured to live: one that would live longer is none of ours, whoever signed it.
pub const LONGEST_LIFE: Duration = Duration::from_secs(86_400);

/// The session that a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub business: Uuid,
    pub session: Uuid,
    pub user: Uuid,
}

/// The members of a token (RFC 7519, section 4.1), with `biz` and `sid` of our own.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Uuid,
    biz: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
}

/// Makes and reads tokens.
pub struct Tokens {
    signing: EncodingKey,
    reading: DecodingKey,
    validation: Validation,
    life: Duration,
}

impl Tokens {
    /// Tokens that live for `life`.
    pub fn new(secret: &[u8], life: Duration) -> Self {
        // One algorithm: what a token's header says is compared, never followed (RFC 8725, section 3.1).
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = LEEWAY.as_secs();
        // Ours have no beginning; one that has, and is not yet good, is not good.
        validation.validate_nbf = true;
        Self { signing: EncodingKey::from_secret(secret), reading: DecodingKey::from_secret(secret), validation, life }
    }

    pub fn life(&self) -> Duration {
        self.life
    }

    /// A token for `ticket`. Errors: 500 when it cannot be signed.
    pub fn issue(&self, ticket: Ticket) -> Result<String> {
        let now = jsonwebtoken::get_current_timestamp();
        let Ticket { business, session, user } = ticket;
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user,
            biz: business,
            sid: session,
            iat: now,
            exp: now + self.life.as_secs(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|error| Error::Internal(format!("a token cannot be signed: {error}")))
    }

    /// The ticket that `token` is, and how long it still counts. Errors: 401.
    pub fn read(&self, token: &str) -> Result<(Ticket, Duration)> {
        use jsonwebtoken::errors::ErrorKind;
        let read = decode::<Claims>(token, &self.reading, &self.validation);
        let claims = read.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Error::expired(),
            _ => Error::Unauthenticated,
        })?;
        let Claims { sub, biz, sid, exp, .. } = claims.claims;
        let left = exp.saturating_add(LEEWAY.as_secs()).saturating_sub(jsonwebtoken::get_current_timestamp());
        let left = Duration::from_secs(left);
        // As far as clocks may differ, twice: the one that signed may be ahead.
        if left > LONGEST_LIFE + LEEWAY * 2 {
            return Err(Error::Unauthenticated);
        }
        Ok((Ticket { business: biz, session: sid, user: sub }, left))
    }
}

/// Whether a credential has the form of a token: API keys have no dots.
pub fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.matches('.').count() == 2
}
