//! Sign-in with an identity provider: OpenID Connect, authorization code flow with PKCE, nonce and state.
//!
//! The front end requests an authorization URL for the browser, and a secret which it keeps. The provider redirects the
//! browser back to the front end with a code and the state; these and the secret are exchanged for a session. The
//! secret binds the redirect to the browser which began: nobody can be signed in by a link which another person has
//! begun.

pub mod http;
mod provider;
mod store;

pub use provider::Provider;

use serde_json::{Value as Json, json};

use self::store::LoginAttempt;
use super::sessions::Device;
use super::sign_in::SignIn;
use crate::auth::{hash, secret};
use crate::base::error::{Error, Result};

/// Lifetime of a login attempt, in seconds.
const AWAY: i64 = 600;

const OVER: Error = Error::AuthRejected {
    code: "sign_in_over",
    detail: "This sign-in is over or was not begun here. Begin again: `POST /api/v1/auth/oidc/authorizations`.",
};

impl SignIn {
    /// Begins a login: returns the authorization URL, and the secret which completes it. Errors: 404 when no provider
    /// is configured, 503 when it does not respond.
    pub async fn begin_login(&self) -> Result<Json> {
        let way = self.provider()?.way().await?;
        let key = secret("oi_")?;
        let departure =
            LoginAttempt { state: hash(&way.state), secret: hash(&key), nonce: way.nonce, verifier: way.verifier };
        self.db.unscoped().write("oidc_depart", move |tx| store::note(tx, &departure, AWAY)).await?;
        Ok(json!({ "authorization_url": way.url, "secret": key, "expires_in": AWAY }))
    }

    /// Completes a login with the `code` and `state` which the provider returned. Errors: 401; 403 when the person is
    /// unknown here.
    pub async fn complete_login(
        &self,
        (code, state, key): (&str, &str, &str),
        business: Option<&str>,
        device: Device,
    ) -> Result<Json> {
        let provider = self.provider()?;
        let (state, key) = (hash(state), hash(key));
        let departure = self.db.unscoped().write("oidc_return", move |tx| store::take(tx, &state, &key)).await?;
        let departure = departure.ok_or(OVER)?;
        let someone = provider.identify(code, departure.nonce, departure.verifier).await?;
        let person = self.db.unscoped().write("oidc_person", move |tx| store::person(tx, &someone)).await?;
        let person = person.ok_or_else(|| {
            Error::Forbidden(
                "Nobody with this address belongs to a business here. Ask a business for an invitation.".into(),
            )
        })?;
        self.start_session((person.id, &person.name), business, device, |_| Ok(true)).await
    }

    fn provider(&self) -> Result<&Provider> {
        self.provider.as_ref().ok_or_else(|| {
            let detail = "No identity provider is configured: set RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and \
                          RAPPORT_OIDC_REDIRECT_URL.";
            Error::NotFound(detail.into())
        })
    }
}
