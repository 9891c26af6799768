//! Who is calling, and for which business.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use crate::auth::hash;
use crate::auth::{Action, Area, Business, Identity, Keyring, Role, Tenant};
use crate::error::{Error, Result};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::Either;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Arc<Identity>,
}

impl Caller {
    /// The caller's business, if the caller's role allows `action` in `area`. Errors: 403.
    pub fn may(&self, area: Area, action: Action) -> Result<Tenant> {
        self.identity.may(area, action)
    }

    pub fn business(&self) -> &Business {
        &self.identity.business
    }

    pub fn role(&self) -> Role {
        self.identity.role
    }
}

impl FromRequest for Caller {
    type Error = Error;
    // A key that is known already costs no allocation: this is on every request.
    type Future = Either<Ready<Result<Self>>, Pin<Box<dyn Future<Output = Result<Self>>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(key) = bearer(request) else {
            return Either::Left(ready(Err(Error::Unauthenticated)));
        };
        let Some(keyring) = request.app_data::<Data<Keyring>>() else {
            return Either::Left(ready(Err(Error::Internal("no keyring".into()))));
        };
        let hash = hash(key);
        if let Some(known) = keyring.known(&hash) {
            return Either::Left(ready(known.map(|identity| Self { identity })));
        }
        let keyring = keyring.clone();
        Either::Right(Box::pin(async move { keyring.of_hash(hash).await.map(|identity| Self { identity }) }))
    }
}

/// The credential of `Authorization: Bearer <credential>`.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}
