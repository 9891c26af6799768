//! Counts requests for rate limiting: by credential, or by client network without a valid credential. So invalid
//! requests are limited without locking out valid callers from the same address.

use std::cell::RefCell;
use std::fmt::Write;
use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};

use crate::auth::{Identity, Principal};
use crate::base::error::{Error, Result};
use crate::base::request_context::{Quota, RateLimitKind};
use crate::http::client_ip;
use crate::http::rate_limit::limiter::{LookupPermit, RateLimiter};

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Bytes of the buffer that header values are cut from, so that they need no allocation each.
const PAGE: usize = 4096;
/// Maximum length of one value in bytes: a name and two numbers.
const MAX_CREDENTIAL_LEN: usize = 64;

/// Counts a request of `identity`. Errors: 429.
pub fn count(request: &HttpRequest, identity: &Identity) -> Result<()> {
    charge(rate_limiter(request)?, identity)
}

fn charge(limiter: &RateLimiter, identity: &Identity) -> Result<()> {
    match identity.principal {
        Principal::Key(id) => limiter.credential(RateLimitKind::Key, id),
        Principal::User { session, .. } => limiter.credential(RateLimitKind::Session, session),
    }
}

fn rate_limiter(request: &HttpRequest) -> Result<&Data<RateLimiter>> {
    request.app_data::<Data<RateLimiter>>().ok_or_else(|| Error::Internal("no rate limiter".into()))
}

/// A client of which only the network address is known.
pub struct AnonymousClient {
    limiter: Data<RateLimiter>,
    network: IpAddr,
}

impl AnonymousClient {
    pub fn of(request: &HttpRequest) -> Result<Self> {
        Ok(Self { limiter: rate_limiter(request)?.clone(), network: client_ip::network(client_ip::address(request)) })
    }

    /// Permits the lookup of an unknown credential; see [`RateLimiter::lookup_permit`]. Errors: 429.
    pub async fn doubt(&self) -> Result<Option<LookupPermit<'_>>> {
        self.limiter.lookup_permit(self.network).await
    }

    /// Counts the request for `identity`, which the credential turned out to have. Errors: 429.
    pub fn is(&self, identity: &Identity) -> Result<()> {
        charge(&self.limiter, identity)
    }

    /// Counts a 401 and returns it, or 429 when the network has used up its limit. Other errors pass unchanged.
    pub fn refused(&self, error: Error) -> Error {
        match error {
            Error::Unauthenticated | Error::AuthRejected { .. } => self.count().err().unwrap_or(error),
            other => other,
        }
    }

    fn count(&self) -> Result<()> {
        self.limiter.address(self.network)
    }
}

/// As [`AnonymousClient::refused`], for the client of `request`.
pub fn refused(request: &HttpRequest, error: Error) -> Error {
    AnonymousClient::of(request).map_or_else(|error| error, |client| client.refused(error))
}

/// Extractor for operations without authentication: counts the request by client network. Errors: 429.
pub struct Anonymous;

impl FromRequest for Anonymous {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(AnonymousClient::of(request).and_then(|client| client.count()).map(|()| Self))
    }
}

/// Adds the rate limit headers (draft-ietf-httpapi-ratelimit-headers): the policy, and the remaining requests with the
/// seconds until the bucket is full.
pub fn add_headers(headers: &mut HeaderMap, limiter: &RateLimiter, quota: Quota) {
    headers.insert(RATE_LIMIT_POLICY, limiter.policy(quota.of));
    if let Some(value) = value(quota) {
        headers.insert(RATE_LIMIT, value);
    }
}

fn value(quota: Quota) -> Option<HeaderValue> {
    thread_local! {
        static REST: RefCell<BytesMut> = RefCell::default();
    }
    REST.with_borrow_mut(|rest| {
        if rest.capacity() < MAX_CREDENTIAL_LEN {
            // Reclaims the page if no header value references it any more.
            rest.reserve(PAGE);
        }
        let seconds = quota.full_in.div_ceil(1_000_000_000);
        write!(rest, "\"{}\";r={};t={seconds}", quota.of.name(), quota.left).ok()?;
        HeaderValue::from_maybe_shared(rest.split().freeze()).ok()
    })
}
