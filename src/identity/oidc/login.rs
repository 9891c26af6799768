//! The login with an identity provider: begins it, and completes it with what the provider returned.

use super::provider::Provider;
use super::store::{self, LoginAttempt};
use crate::auth::{hash, secret};
use crate::base::error::{Error, Result};
use crate::db::Db;
use crate::identity::device::Device;
use crate::identity::responses::{OidcAuthorization, SignedIn};
use crate::identity::session_issuer::SessionIssuer;

/// Lifetime of a login attempt, in seconds.
const ATTEMPT_SECONDS: u32 = 600;

const OVER: Error = Error::AuthRejected {
    code: "sign_in_over",
    detail: "This sign-in is over or was not begun here. Begin again: `POST /api/v1/auth/oidc/authorizations`.",
};

/// What the browser returns with, to complete a login.
pub struct LoginResponse {
    /// The provider's authorization code.
    pub code: String,
    pub state: String,
    /// The secret which the browser was given when it began.
    pub secret: String,
}

/// Signs people in whom the identity provider names.
pub struct OidcLogin {
    pub db: Db,
    /// `None`: not configured.
    pub provider: Option<Provider>,
    pub sessions: SessionIssuer,
}

impl OidcLogin {
    /// Begins a login: returns the authorization URL, and the secret which completes it. Errors: 404 when no provider
    /// is configured, 503 when it does not respond.
    pub async fn begin_login(&self) -> Result<OidcAuthorization> {
        let authorization = self.provider()?.authorize().await?;
        let secret = secret("oi_")?;
        let attempt = LoginAttempt {
            state: hash(&authorization.state),
            secret: hash(&secret),
            nonce: authorization.nonce,
            verifier: authorization.verifier,
        };
        self.db
            .unscoped()
            .write("oidc_begin_login", move |tx| store::save(tx, &attempt, ATTEMPT_SECONDS.into()))
            .await?;
        Ok(OidcAuthorization { authorization_url: authorization.url, secret, expires_in: ATTEMPT_SECONDS })
    }

    /// Completes a login with what the provider returned. Errors: 401; 403 when the person is unknown here.
    pub async fn complete_login(
        &self,
        response: LoginResponse,
        business: Option<&str>,
        device: Device,
    ) -> Result<SignedIn> {
        let provider = self.provider()?;
        let (state, secret) = (hash(&response.state), hash(&response.secret));
        let attempt =
            self.db.unscoped().write("oidc_complete_login", move |tx| store::take(tx, &state, &secret)).await?;
        let attempt = attempt.ok_or(OVER)?;
        let identity = provider.identify(&response.code, &attempt.nonce, &attempt.verifier).await?;
        let person = self.db.unscoped().write("oidc_find_user", move |tx| store::person(tx, &identity)).await?;
        let person = person.ok_or_else(|| {
            Error::Forbidden(
                "Nobody with this address belongs to a business here. Ask a business for an invitation.".into(),
            )
        })?;
        self.sessions.start_session((person.id, &person.name), business, device, |_| Ok(())).await
    }

    fn provider(&self) -> Result<&Provider> {
        self.provider.as_ref().ok_or_else(|| {
            let detail = "No identity provider is configured: set RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and \
                          RAPPORT_OIDC_REDIRECT_URL.";
            Error::NotFound(detail.into())
        })
    }
}
