//! The request to the token endpoint, which exchanges a code for an ID token: OpenID Connect Core 1.0, section 3.1.3.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::discovery::{ClientAuthentication, Metadata};
use super::fetch::{FetchError, Fetcher};
use crate::base::options::Secret;

/// This service, as a client of the provider.
pub struct Client {
    pub id: String,
    /// `None`: a public client.
    pub secret: Option<Secret>,
    pub redirect_url: String,
}

#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
}

impl Client {
    /// Exchanges `code` for an ID token, which is not verified yet.
    pub async fn exchange(
        &self,
        fetcher: &Fetcher,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<String, FetchError> {
        // Section 3.1.3.1, and RFC 7636, section 4.5.
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", self.redirect_url.as_str()),
        ];
        let secret = self.secret.as_ref().map(Secret::expose);
        let authorization = match (secret, metadata.authentication) {
            (Some(secret), ClientAuthentication::Basic) => Some(basic(&self.id, secret)),
            (Some(secret), ClientAuthentication::Post) => {
                form.extend([("client_id", self.id.as_str()), ("client_secret", secret)]);
                None
            }
            // A public client only names itself (RFC 6749, section 4.1.3).
            (None, _) => {
                form.push(("client_id", &self.id));
                None
            }
        };
        let response: TokenResponse = fetcher.post(&metadata.token_endpoint, &form, authorization).await?;
        Ok(response.id_token)
    }
}

/// Both parts are form-encoded first, unlike in other uses of Basic authentication (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}
