//! Requests to the identity provider: JSON by GET and form by POST, limited in time and size, without redirects.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::Serializer;

/// Timeout of a request to the provider.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Why a request to the provider failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    #[error("the status of the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is no JSON by its Content-Type")]
    ContentType,
    #[error("the answer cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl FetchError {
    /// Whether the provider gave no answer that could be read to its end, or failed itself (a status of 500 or more).
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Http(_) | Self::TooLarge => true,
            Self::Status(status) => status.is_server_error(),
            Self::ContentType | Self::Json(_) => false,
        }
    }
}

/// HTTP client for the provider.
pub struct Fetcher(reqwest::Client);

impl Fetcher {
    /// Errors: when the system's certificates cannot be loaded.
    pub fn new() -> reqwest::Result<Self> {
        // Requests go only to the URLs which configuration and metadata name.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
        Ok(Self(client.build()?))
    }

    /// Returns the JSON document at `url`.
    pub async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, FetchError> {
        read(self.0.get(url.clone())).await
    }

    /// Posts `form` to `url`; returns the JSON of the response.
    pub async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        authorization: Option<String>,
    ) -> Result<T, FetchError> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.0.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        read(request).await
    }
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, FetchError> {
    let mut response = request.header(ACCEPT, "application/json").send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(FetchError::TooLarge);
        }
    }
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    if !may_be_json(response.headers()) {
        return Err(FetchError::ContentType);
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Whether the response states no other media type than JSON, or that of a key set (RFC 7517, section 8.5).
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/jwk-set+json"].iter().any(|json| essence.eq_ignore_ascii_case(json))
}
