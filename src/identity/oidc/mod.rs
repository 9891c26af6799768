//! Signing in with an identity provider: OpenID Connect, by the authorization code flow with PKCE, nonce and state.
//!
//! The front end asks where to send the browser, and gets an address and a secret that it keeps. The provider sends the
//! browser back to the front end with a code and the state; these and the secret are exchanged for a session. The secret is
//! what ties the way back to the browser that left: nobody can be signed in by a link that someone else has begun.

pub mod http;
mod provider;
mod store;

pub use provider::Provider;

use serde_json::{Value as Json, json};

use self::store::Departure;
use super::sessions::Device;
use super::sign_in::SignIn;
use crate::auth::{hash, secret};
use crate::error::{Error, Result};

/// How long someone may stay with the provider, in seconds.
const AWAY: i64 = 600;

const OVER: Error = Error::Refused {
    code: "sign_in_over",
    detail: "This sign-in is over or was not begun here. Begin again: `POST /api/v1/auth/oidc/departures`.",
};

impl SignIn {
    /// Where to send a browser, and the secret with which its way back is used. Errors: 404 when there is no provider, 503 when it
    /// does not answer.
    pub async fn depart(&self) -> Result<Json> {
        let way = self.provider()?.way().await?;
        let key = secret("oi_")?;
        let departure =
            Departure { state: hash(&way.state), secret: hash(&key), nonce: way.nonce, verifier: way.verifier };
        self.db.across().write("oidc_depart", move |tx| store::note(tx, &departure, AWAY)).await?;
        Ok(json!({ "authorization_url": way.url, "secret": key, "expires_in": AWAY }))
    }

    /// Signs in whom the provider sent back with `code` and `state`. Errors: 401; 403 when nobody here is meant.
    pub async fn arrive(
        &self,
        (code, state, key): (&str, &str, &str),
        business: Option<&str>,
        device: Device,
    ) -> Result<Json> {
        let provider = self.provider()?;
        let (state, key) = (hash(state), hash(key));
        let departure = self.db.across().write("oidc_return", move |tx| store::take(tx, &state, &key)).await?;
        let departure = departure.ok_or(OVER)?;
        let someone = provider.identify(code, departure.nonce, departure.verifier).await?;
        let person = self.db.across().write("oidc_person", move |tx| store::person(tx, &someone)).await?;
        let person = person.ok_or_else(|| {
            Error::Forbidden(
                "Nobody with this address belongs to a business here. Ask a business for an invitation.".into(),
            )
        })?;
        self.enter((person.id, &person.name), business, device, |_| Ok(true)).await
    }

    fn provider(&self) -> Result<&Provider> {
        self.provider.as_ref().ok_or_else(|| {
            let detail = "No identity provider is configured: set RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and \
                          RAPPORT_OIDC_REDIRECT_URL.";
            Error::NotFound(detail.into())
        })
    }
}
