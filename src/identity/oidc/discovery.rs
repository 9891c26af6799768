//! The provider's metadata and keys: OpenID Connect Discovery 1.0.

use std::str::FromStr;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;
use serde_json::Value as Json;
use url::Url;

use super::fetch::{FetchError, Fetcher};

/// Path of the metadata below the issuer (Discovery, section 4).
const PATH: &str = ".well-known/openid-configuration";

/// How the client authenticates itself at the token endpoint (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
}

/// What the provider states about itself.
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    /// Algorithms of its ID tokens, of those with a public key.
    pub algorithms: Vec<Algorithm>,
    pub authentication: ClientAuthentication,
    pub keys: JwkSet,
}

/// Members of the metadata that are used here (Discovery, section 3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// A key set (RFC 7517, section 5), whose keys are read one by one.
#[derive(Deserialize)]
struct KeyDocument {
    keys: Vec<Json>,
}

/// Why the metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("metadata: {0}")]
    Metadata(#[source] FetchError),
    #[error("keys: {0}")]
    Keys(#[source] FetchError),
    #[error("the metadata are of another issuer, `{0}`")]
    Issuer(String),
    #[error("`{0}` of the metadata is no URL")]
    Url(String),
}

/// Returns the address of the metadata of `issuer`.
pub fn address(issuer: &str) -> Result<Url, url::ParseError> {
    // Section 4: a terminating slash of the issuer is removed first.
    Url::parse(&format!("{}/{PATH}", issuer.strip_suffix('/').unwrap_or(issuer)))
}

/// Fetches the metadata and keys of `issuer`.
pub async fn fetch(fetcher: &Fetcher, issuer: &str, address: &Url) -> Result<Metadata, DiscoveryError> {
    let document: Document = fetcher.get(address).await.map_err(DiscoveryError::Metadata)?;
    // Section 4.3: the issuer of the metadata must be identical to the configured one; so a provider can speak for
    // itself only.
    if document.issuer != issuer {
        return Err(DiscoveryError::Issuer(document.issuer));
    }
    let url = |text: String| Url::parse(&text).map_err(|_| DiscoveryError::Url(text));
    let keys: KeyDocument = fetcher.get(&url(document.jwks_uri)?).await.map_err(DiscoveryError::Keys)?;
    Ok(Metadata {
        issuer: document.issuer,
        authorization_endpoint: url(document.authorization_endpoint)?,
        token_endpoint: url(document.token_endpoint)?,
        algorithms: algorithms(&document.id_token_signing_alg_values_supported),
        authentication: authentication(document.token_endpoint_auth_methods_supported.as_deref()),
        keys: JwkSet { keys: keys.keys.into_iter().filter_map(key).collect() },
    })
}

/// Leaves out `none`, algorithms that are unknown here, and those that verify with a shared secret.
fn algorithms(names: &[String]) -> Vec<Algorithm> {
    let known = names.iter().filter_map(|name| Algorithm::from_str(name).ok());
    known.filter(|algorithm| algorithm.family() != AlgorithmFamily::Hmac).collect()
}

/// Section 3: `client_secret_basic` is the default; it is also preferred.
fn authentication(methods: Option<&[String]>) -> ClientAuthentication {
    let supports = |name: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == name));
    if supports("client_secret_post") && !supports("client_secret_basic") {
        ClientAuthentication::Post
    } else {
        ClientAuthentication::Basic
    }
}

/// Keys of types that are not understood are ignored (RFC 7517, section 5).
fn key(json: Json) -> Option<Jwk> {
    serde_json::from_value(json).ok()
}
