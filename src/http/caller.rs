//! Who is calling, and for which business.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::Either;
use uuid::Uuid;

use super::quota::{self, Stranger};
use crate::auth::{Action, Area, Business, Credential, Hash, Identity, Keyring, Principal, Role, Tenant, hash};
use crate::cache::Stamp;
use crate::error::{Error, Result};

// What is known already costs no allocation: this is on every request.
type Found<T> = Either<Ready<Result<T>>, Pin<Box<dyn Future<Output = Result<T>>>>>;

/// Whom a request's credential spoke for when it was last looked at: good enough to begin with, not to answer with. It is
/// confirmed by a validation round, as a rule the one that validates the answer.
#[derive(Clone)]
pub struct Claim {
    keyring: Data<Keyring>,
    hash: Hash,
    identity: Arc<Identity>,
}

impl Claim {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn business(&self) -> &Business {
        &self.identity.business
    }

    /// Confirms it by what a round of `generation` found for its identity's access; no versions: nothing has changed since
    /// it was confirmed last. `None`: it is as claimed; else what is true now. Errors: 401 when the credential is no good
    /// any more.
    pub async fn confirm(&self, generation: u64, now: Option<&Stamp>) -> Result<Option<Self>> {
        let renewed = self.keyring.confirm(self.hash, &self.identity, generation, now).await?;
        Ok(renewed.map(|identity| Self { identity, ..self.clone() }))
    }

    /// Whom it speaks for now, confirmed: for what goes on longer than a request. Errors: 401; 503 when that cannot be known.
    pub async fn again(&self) -> Result<Self> {
        let identity = self.keyring.again(self.hash, &self.identity).await?;
        let caller = Self { identity, ..self.clone() }.confirmed().await?;
        Ok(Self { identity: caller.identity, ..self.clone() })
    }

    /// What is true now where rounds cannot say it: looked up if there is a cache that is bypassed. Without a cache a
    /// credential is believed for `RAPPORT_KEY_TRUST_MS`. Errors: 401.
    pub async fn looked_up(self) -> Result<Self> {
        if self.keyring.cache().is_none() {
            return Ok(self);
        }
        let identity = self.keyring.look_up_again(self.hash, &self.identity).await?;
        Ok(Self { identity, ..self })
    }

    /// Confirms it by a round of its own.
    async fn confirmed(self) -> Result<Caller> {
        let Some(cache) = self.keyring.cache().filter(|cache| !cache.is_bypassed()) else {
            return Ok(Caller { identity: self.looked_up().await?.identity });
        };
        let found = cache.check(self.identity.access(), self.identity.confirmed()).await?;
        let renewed = self.confirm(found.generation, found.stamp.as_ref()).await?;
        let identity = renewed.map_or(self.identity, |renewed| renewed.identity);
        Ok(Caller { identity })
    }
}

impl FromRequest for Claim {
    type Error = Error;
    type Future = Found<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(text) = bearer(request) else {
            return Either::Left(ready(Err(quota::refused(request, Error::Unauthenticated))));
        };
        let Some(keyring) = request.app_data::<Data<Keyring>>().cloned() else {
            return Either::Left(ready(Err(Error::Internal("no keyring".into()))));
        };
        let hash = hash(text);
        if let Some(known) = keyring.known(&hash) {
            let known = known.map_err(|error| quota::refused(request, error));
            let counted = known.and_then(|identity| quota::count(request, &identity).map(|()| identity));
            return Either::Left(ready(counted.map(|identity| Self { keyring, hash, identity })));
        }
        let (text, stranger) = (text.to_owned(), Stranger::of(request));
        Either::Right(Box::pin(async move {
            let stranger = stranger?;
            let identity = recognise(&keyring, &text, &stranger).await.map_err(|error| stranger.refused(error))?;
            stranger.is(&identity)?;
            Ok(Self { keyring, hash, identity })
        }))
    }
}

/// An authenticated caller: what the credential says now.
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

    pub fn principal(&self) -> Principal {
        self.identity.principal
    }

    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// The caller's own business, for what everyone may ask about themselves.
    pub fn own(&self) -> Tenant {
        self.identity.own()
    }

    /// The caller's own business, for what everyone may do about themselves: their sessions, their password.
    /// Errors: 403 when the caller is a program.
    pub fn person(&self) -> Result<(Tenant, Uuid, Uuid)> {
        match self.identity.principal {
            Principal::User { id, session } => Ok((self.identity.own(), id, session)),
            Principal::Key(_) => Err(Error::Forbidden("An API key has no sessions and no password.".into())),
        }
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (claim, request) = (Claim::from_request(request, payload), request.clone());
        Box::pin(async move { claim.await?.confirmed().await.map_err(|error| quota::refused(&request, error)) })
    }
}

/// Whom a credential speaks for that is not known here yet. Errors: 401.
async fn recognise(keyring: &Keyring, text: &str, stranger: &Stranger) -> Result<Arc<Identity>> {
    let credential = keyring.read(text).await?;
    // A token has proved by its signature that it is none of the made up ones.
    let _turn = match credential {
        Credential::Key(_) => stranger.doubt().await?,
        Credential::Token(..) => None,
    };
    keyring.identify(credential).await
}

/// The credential of `Authorization: Bearer <credential>`.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}
