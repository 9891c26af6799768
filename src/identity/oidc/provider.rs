//! The identity provider: sends people to it, and finds out who they are when they return with a code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Mutex;
use url::Url;

use super::discovery::{self, Metadata};
use super::fetch::{FetchError, Fetcher};
use super::id_token::{self, ExternalIdentity};
use super::token_request::Client;
use crate::auth::{hash, secret};
use crate::base::error::{Error, Result};
use crate::identity::args::OidcArgs;

/// How long the provider's metadata, including its keys, is cached.
const METADATA_MAX_AGE: Duration = Duration::from_secs(3600);
/// Minimum age of the metadata before it is fetched again because a token did not verify: keys rotate.
const REFETCH_MIN_AGE: Duration = Duration::from_secs(5);
/// Scopes of a request: `openid` is required, the others add the claims (OpenID Connect Core 1.0, section 5.4).
const SCOPE: &str = "openid email profile";

const REFUSED: Error = Error::AuthRejected {
    code: "sign_in_refused",
    detail: "The identity provider's answer was no good. Begin again: `POST /api/v1/auth/oidc/authorizations`.",
};

pub struct Provider {
    issuer: String,
    /// Address of its metadata.
    address: Url,
    client: Client,
    fetcher: Fetcher,
    cache: Mutex<MetadataCache>,
}

#[derive(Default)]
struct MetadataCache {
    /// When it was fetched, and the metadata.
    fetched: Option<(Instant, Arc<Metadata>)>,
    /// When a fetch failed last.
    failed: Option<Instant>,
}

/// An authorization URL, and the values which its response is verified with.
pub struct Authorization {
    pub url: String,
    pub state: String,
    pub nonce: String,
    pub verifier: String,
}

impl Provider {
    /// Returns the configured provider, if any. Errors: 500 for URLs which the validation of the configuration should
    /// have refused.
    pub fn open(args: &OidcArgs) -> Result<Option<Self>> {
        let (Some(issuer), Some(client)) = (&args.oidc_issuer, &args.oidc_client_id) else { return Ok(None) };
        let wrong =
            |error: &dyn std::fmt::Display| Error::Internal(format!("the identity provider's options: {error}"));
        let redirect_url = args.oidc_redirect_url.clone().unwrap_or_default();
        // Sent as it is written: providers compare it as a string.
        Url::parse(&redirect_url).map_err(|error| wrong(&error))?;
        Ok(Some(Self {
            issuer: issuer.clone(),
            address: discovery::address(issuer).map_err(|error| wrong(&error))?,
            client: Client { id: client.clone(), secret: args.oidc_client_secret.clone(), redirect_url },
            fetcher: Fetcher::new().map_err(|error| wrong(&error))?,
            cache: Mutex::default(),
        }))
    }

    /// Creates an authorization URL (OpenID Connect Core 1.0, section 3.1.2.1). Errors: 503 when the provider does not
    /// respond.
    pub async fn authorize(&self) -> Result<Authorization> {
        let metadata = self.metadata(METADATA_MAX_AGE).await?;
        // 43 characters of base64url, the form that RFC 7636, section 4.1 recommends for the verifier.
        let (state, nonce, verifier) = (secret("")?, secret("")?, secret("")?);
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.client.redirect_url)
            .append_pair("scope", SCOPE)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            // RFC 7636, section 4.2.
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(hash(&verifier)))
            .append_pair("code_challenge_method", "S256");
        Ok(Authorization { url: url.into(), state, nonce, verifier })
    }

    /// Exchanges `code`, with the `nonce` and `verifier` of the login attempt, for the person's identity. Errors: 401
    /// when the provider refuses the code or its token does not verify; 503.
    pub async fn identify(&self, code: &str, nonce: &str, verifier: &str) -> Result<ExternalIdentity> {
        let known = self.metadata(METADATA_MAX_AGE).await?;
        let token = self.client.exchange(&self.fetcher, &known, code, verifier).await;
        let token = token.map_err(|error| refused_or_unavailable(&error))?;
        if let Ok(identity) = id_token::verify(&token, &known, &self.client.id, nonce) {
            return Ok(identity);
        }
        // The token may be signed by a key which is newer than the metadata (section 10.1.1).
        let renewed = self.metadata(REFETCH_MIN_AGE).await?;
        id_token::verify(&token, &renewed, &self.client.id, nonce).map_err(|error| {
            tracing::warn!(%error, "an identity token was refused");
            REFUSED
        })
    }

    /// Returns the provider's metadata, at most `age` old.
    async fn metadata(&self, age: Duration) -> Result<Arc<Metadata>> {
        let asked = Instant::now();
        // Held during the fetch, so that concurrent callers wait for it instead of repeating it.
        let mut cache = self.cache.lock().await;
        if let Some((_, metadata)) = cache.fetched.as_ref().filter(|(when, _)| when.elapsed() < age) {
            return Ok(metadata.clone());
        }
        // Those who waited for a fetch share its failure, too: otherwise each would wait for one more time-out.
        if cache.failed.is_some_and(|when| when >= asked) {
            return Err(unavailable());
        }
        match discovery::fetch(&self.fetcher, &self.issuer, &self.address).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                cache.fetched = Some((Instant::now(), metadata.clone()));
                Ok(metadata)
            }
            Err(error) => {
                tracing::warn!(%error, "the identity provider cannot be asked");
                cache.failed = Some(Instant::now());
                Err(unavailable())
            }
        }
    }
}

fn refused_or_unavailable(error: &FetchError) -> Error {
    tracing::warn!(%error, "the identity provider gave no token");
    if error.is_unanswered() { unavailable() } else { REFUSED }
}

fn unavailable() -> Error {
    Error::Unavailable {
        code: "provider_unavailable",
        detail: "The identity provider does not answer. Try again shortly.".into(),
        after: 5,
    }
}
