//! Whom a request counts against: its credential, or, without a good one, the address that it came from. So nonsense is
//! limited without those who share its address being locked out.

use std::cell::RefCell;
use std::fmt::Write;
use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};

use super::client;
use crate::app::App;
use crate::auth::{Identity, Principal};
use crate::context::{Counted, Quota};
use crate::error::{Error, Result};
use crate::limits::{Doubt, Limits};

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Bytes that the values of headers are cut from, so that not each needs memory of its own.
const PAGE: usize = 4096;
/// Of one value: a name and two numbers.
const LONGEST: usize = 64;

/// Counts a request of `identity`. Errors: 429.
pub fn count(request: &HttpRequest, identity: &Identity) -> Result<()> {
    charge(app(request)?, identity)
}

fn charge(app: &App, identity: &Identity) -> Result<()> {
    match identity.principal {
        Principal::Key(id) => app.limits.credential(Counted::Key, id),
        Principal::User { session, .. } => app.limits.credential(Counted::Session, session),
    }
}

fn app(request: &HttpRequest) -> Result<&Data<App>> {
    request.app_data::<Data<App>>().ok_or_else(|| Error::Internal("no application".into()))
}

/// Someone of whom only the address is known.
pub struct Stranger {
    app: Data<App>,
    network: IpAddr,
}

impl Stranger {
    pub fn of(request: &HttpRequest) -> Result<Self> {
        Ok(Self { app: app(request)?.clone(), network: client::network(client::address(request)) })
    }

    /// Before an unknown credential is looked up; see [`Limits::doubt`]. Errors: 429.
    pub async fn doubt(&self) -> Result<Option<Doubt<'_>>> {
        self.app.limits.doubt(self.network).await
    }

    /// Their credential turned out to be that of `identity`. Errors: 429.
    pub fn is(&self, identity: &Identity) -> Result<()> {
        charge(&self.app, identity)
    }

    /// Counts the 401 that they were about to get; past their quota they get 429. Other errors stay as they are.
    pub fn refused(&self, error: Error) -> Error {
        match error {
            Error::Unauthenticated | Error::Refused { .. } => self.count().err().unwrap_or(error),
            other => other,
        }
    }

    fn count(&self) -> Result<()> {
        self.app.limits.stranger(self.network)
    }
}

/// As [`Stranger::refused`], where that was all there was to know.
pub fn refused(request: &HttpRequest, error: Error) -> Error {
    Stranger::of(request).map_or_else(|error| error, |stranger| stranger.refused(error))
}

/// Whoever comes, counted by their address: for operations that need no credential.
pub struct Anyone;

impl FromRequest for Anyone {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Stranger::of(request).and_then(|stranger| stranger.count()).map(|()| Self))
    }
}

/// Says what is left (draft-ietf-httpapi-ratelimit-headers): the policy, and the requests that may come now with the
/// seconds until all of the bucket is there again.
pub fn tell(headers: &mut HeaderMap, limits: &Limits, quota: Quota) {
    headers.insert(RATE_LIMIT_POLICY, limits.policy(quota.of));
    if let Some(value) = value(quota) {
        headers.insert(RATE_LIMIT, value);
    }
}

fn value(quota: Quota) -> Option<HeaderValue> {
    thread_local! {
        static REST: RefCell<BytesMut> = RefCell::default();
    }
    REST.with_borrow_mut(|rest| {
        if rest.capacity() < LONGEST {
            // Takes the page back if nobody has a part of it any more.
            rest.reserve(PAGE);
        }
        let seconds = quota.full_in.div_ceil(1_000_000_000);
        write!(rest, "\"{}\";r={};t={seconds}", quota.of.name(), quota.left).ok()?;
        HeaderValue::from_maybe_shared(rest.split().freeze()).ok()
    })
}
