//! Client for the identity provider: OpenID Connect Discovery, key retrieval, code exchange and token verification.

use std::time::{Duration, Instant};

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use tokio::sync::Mutex;

use crate::base::error::{Error, Result};
use crate::identity::args::OidcArgs;

/// How long the provider's metadata, including its keys, is cached.
const METADATA_MAX_AGE: Duration = Duration::from_secs(3600);
/// Minimum age of the metadata before it is fetched again because a token did not verify: keys rotate.
const REFETCH_MIN_AGE: Duration = Duration::from_secs(5);
/// Timeout of a request to the provider.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

const REFUSED: Error = Error::AuthRejected {
    code: "sign_in_refused",
    detail: "The identity provider's answer was no good. Begin again: `POST /api/v1/auth/oidc/authorizations`.",
};

pub struct Provider {
    issuer: IssuerUrl,
    client: ClientId,
    secret: Option<ClientSecret>,
    redirect_url: RedirectUrl,
    http: reqwest::Client,
    metadata: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

/// OpenID Connect client, built from the provider's metadata.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// An authorization URL, and the values which its response is verified with.
pub struct Authorization {
    pub url: String,
    pub state: String,
    pub nonce: String,
    pub verifier: String,
}

/// A person's identity, as the provider states it.
pub struct ExternalIdentity {
    pub issuer: String,
    pub subject: String,
    /// `None`, unless the provider has verified the address.
    pub verified_email: Option<String>,
}

impl Provider {
    /// Returns the configured provider, if any. Errors: 500 for URLs which the validation of the configuration should
    /// have refused.
    pub fn open(args: &OidcArgs) -> Result<Option<Self>> {
        let (Some(issuer), Some(client)) = (&args.oidc_issuer, &args.oidc_client_id) else { return Ok(None) };
        let wrong =
            |error: &dyn std::fmt::Display| Error::Internal(format!("the identity provider's options: {error}"));
        let redirect_url = args.oidc_redirect_url.clone().unwrap_or_default();
        let http = reqwest::Client::builder()
            // Requests go only to the URLs which configuration and metadata name.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Some(Self {
            issuer: IssuerUrl::new(issuer.clone()).map_err(|error| wrong(&error))?,
            client: ClientId::new(client.clone()),
            secret: args.oidc_client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned())),
            redirect_url: RedirectUrl::new(redirect_url).map_err(|error| wrong(&error))?,
            http,
            metadata: Mutex::default(),
        }))
    }

    fn client(&self, metadata: CoreProviderMetadata) -> Client {
        CoreClient::from_provider_metadata(metadata, self.client.clone(), self.secret.clone())
            .set_redirect_uri(self.redirect_url.clone())
    }

    /// Creates an authorization URL. Errors: 503 when the provider does not respond.
    pub async fn authorize(&self) -> Result<Authorization> {
        let client = self.client(self.metadata(METADATA_MAX_AGE).await?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scope(Scope::new("email".into()))
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Authorization {
            url: url.into(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Exchanges `code`, with the `nonce` and `verifier` of the login attempt, for the person's identity. Errors: 401
    /// when the provider refuses the code or its token does not verify; 503.
    pub async fn identify(&self, code: &str, nonce: String, verifier: String) -> Result<ExternalIdentity> {
        let known = self.client(self.metadata(METADATA_MAX_AGE).await?);
        let request = known.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(|_| REFUSED)?;
        let http = |request| send(self.http.clone(), request);
        let answer = request.set_pkce_verifier(PkceCodeVerifier::new(verifier)).request_async(&http).await;
        let answer = answer.map_err(|error| match error {
            openidconnect::RequestTokenError::Request(_) => unreachable(),
            _ => REFUSED,
        })?;
        let token = answer.id_token().ok_or(REFUSED)?;
        let nonce = Nonce::new(nonce);
        let claims = match token.claims(&known.id_token_verifier(), &nonce) {
            Ok(claims) => claims.clone(),
            // The token may be signed by a key which is newer than the metadata.
            Err(_) => {
                let renewed = self.client(self.metadata(REFETCH_MIN_AGE).await?);
                let claims = token.claims(&renewed.id_token_verifier(), &nonce).cloned();
                claims.map_err(|error| {
                    tracing::warn!(%error, "an identity token was refused");
                    REFUSED
                })?
            }
        };
        let verified = claims.email_verified() == Some(true);
        Ok(ExternalIdentity {
            issuer: claims.issuer().to_string(),
            subject: claims.subject().to_string(),
            verified_email: claims.email().filter(|_| verified).map(|email| email.to_string()),
        })
    }

    /// Returns the provider's metadata, at most `age` old.
    async fn metadata(&self, age: Duration) -> Result<CoreProviderMetadata> {
        // Held during the fetch, so that concurrent callers wait for it instead of repeating it.
        let mut cached = self.metadata.lock().await;
        if let Some((_, metadata)) = cached.as_ref().filter(|(when, _)| when.elapsed() < age) {
            return Ok(metadata.clone());
        }
        let http = |request| send(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &http).await.map_err(|error| {
            tracing::warn!(%error, "the identity provider cannot be asked");
            unreachable()
        })?;
        *cached = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }
}

fn unreachable() -> Error {
    Error::Unavailable {
        code: "provider_unavailable",
        detail: "The identity provider does not answer. Try again shortly.".into(),
        after: 5,
    }
}

/// Why a request to the provider failed.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
}

async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, RequestError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(RequestError::TooLarge);
        }
    }
    let mut response = HttpResponse::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
