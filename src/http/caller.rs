//! Extractors for the authenticated caller of a request and the business it acts for.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::Either;
use uuid::Uuid;

use super::rate_limit::check as rate_limit_check;
use super::rate_limit::check::AnonymousClient;
use crate::auth::{
    Action, Area, Authenticator, Credential, Hash, Identity, Principal, Role, Tenant, TenantSettings, hash,
};
use crate::base::error::{Error, Result};
use crate::cache::Round;

// A known credential resolves without a boxed future: this runs on every request.
type Found<T> = Either<Ready<Result<T>>, Pin<Box<dyn Future<Output = Result<T>>>>>;

/// The identity that a credential had when it was last verified. It suffices to start a read but not to answer it: a
/// validation round confirms it, usually the one that validates the response.
#[derive(Clone)]
pub struct UnverifiedCaller {
    authenticator: Data<Authenticator>,
    hash: Hash,
    identity: Arc<Identity>,
}

impl UnverifiedCaller {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn business(&self) -> &TenantSettings {
        &self.identity.settings
    }

    /// Confirms the identity for a request that joined `round`. Returns `None` when the identity is unchanged, else the
    /// current one. Errors: 401 when the credential is no longer valid.
    pub async fn confirm(&self, round: &Arc<Round>) -> Result<Option<Self>> {
        let renewed = self.authenticator.confirm(self.hash, &self.identity, round).await?;
        Ok(renewed.map(|identity| Self { identity, ..self.clone() }))
    }

    /// Returns the confirmed identity, for work that outlasts a request. Errors: 401; 503 when it cannot be confirmed.
    pub async fn revalidate(&self) -> Result<Self> {
        let identity = self.authenticator.revalidate(self.hash, &self.identity).await?;
        let caller = Self { identity, ..self.clone() }.confirmed().await?;
        Ok(Self { identity: caller.identity, ..self.clone() })
    }

    /// Looks the credential up again while the cache is bypassed and no validation round can confirm it. Without a
    /// cache a credential is trusted for `RAPPORT_CREDENTIAL_CACHE_MS`. Errors: 401.
    pub async fn looked_up(self) -> Result<Self> {
        if self.authenticator.cache().is_none() {
            return Ok(self);
        }
        let identity = self.authenticator.look_up_again(self.hash, &self.identity).await?;
        Ok(Self { identity, ..self })
    }

    /// Confirms the identity in a validation round of its own, or by [`Self::looked_up`] where no cache is in use.
    async fn confirmed(self) -> Result<Caller> {
        let Some(cache) = self.authenticator.cache().filter(|cache| !cache.is_bypassed()) else {
            return Ok(Caller { identity: self.looked_up().await?.identity });
        };
        let round = cache.round().await?;
        let renewed = self.confirm(&round).await?;
        let identity = renewed.map_or(self.identity, |renewed| renewed.identity);
        Ok(Caller { identity })
    }
}

impl FromRequest for UnverifiedCaller {
    type Error = Error;
    type Future = Found<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(text) = bearer(request) else {
            return Either::Left(ready(Err(rate_limit_check::refused(request, Error::Unauthenticated))));
        };
        let Some(authenticator) = request.app_data::<Data<Authenticator>>().cloned() else {
            return Either::Left(ready(Err(Error::Internal("no authenticator".into()))));
        };
        let hash = hash(text);
        if let Some(known) = authenticator.known(&hash) {
            let known = known.map_err(|error| rate_limit_check::refused(request, error));
            let counted = known.and_then(|identity| rate_limit_check::count(request, &identity).map(|()| identity));
            return Either::Left(ready(counted.map(|identity| Self { authenticator, hash, identity })));
        }
        let (text, client) = (text.to_owned(), AnonymousClient::of(request));
        Either::Right(Box::pin(async move {
            let client = client?;
            let identity = recognise(&authenticator, &text, &client).await.map_err(|error| client.refused(error))?;
            client.is(&identity)?;
            Ok(Self { authenticator, hash, identity })
        }))
    }
}

/// An authenticated caller with a confirmed identity.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Arc<Identity>,
}

impl Caller {
    /// Returns the caller's business if the caller is permitted `action` in `area`. Errors: 403.
    pub fn require(&self, area: Area, action: Action) -> Result<Tenant> {
        self.identity.require(area, action)
    }

    pub fn business(&self) -> &TenantSettings {
        &self.identity.settings
    }

    pub fn principal(&self) -> Principal {
        self.identity.principal
    }

    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// Returns the caller's own business, for reads about the caller that need no permission.
    pub fn own(&self) -> Tenant {
        self.identity.own()
    }

    /// Returns the caller's own business, user id and session id, for operations on the caller's own sessions and
    /// password. Errors: 403 when the caller is an API key.
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
        let (caller, request) = (UnverifiedCaller::from_request(request, payload), request.clone());
        Box::pin(
            async move { caller.await?.confirmed().await.map_err(|error| rate_limit_check::refused(&request, error)) },
        )
    }
}

/// Identifies a credential that the authenticator does not remember. Errors: 401; 429.
async fn recognise(authenticator: &Authenticator, text: &str, client: &AnonymousClient) -> Result<Arc<Identity>> {
    let credential = authenticator.read(text).await?;
    // A token's valid signature proves that it was issued here, so it needs no lookup permit.
    let _turn = match credential {
        Credential::Key(_) => client.doubt().await?,
        Credential::Token(..) => None,
    };
    authenticator.identify(credential).await
}

/// Returns the credential of `Authorization: Bearer <credential>`.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}
