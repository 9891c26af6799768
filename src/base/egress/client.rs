//! The HTTP client whose requests the egress policy confines.
//!
//! It resolves a name, checks each of its addresses, and connects to one of those and to nothing else, so that a name
//! which resolves differently the second time (DNS rebinding) gains nothing. IP addresses in a URL never reach the
//! resolver and are checked separately. There is no proxy, and redirects are not followed.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::policy::EgressPolicy;
use super::resolver::{Lookup, PolicyResolver};
use crate::base::http_client;

/// Bytes of a response body which are read.
const MAX_BODY_BYTES: usize = 1_024;

/// The response.
#[derive(Debug)]
pub struct EgressResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Sends requests within an [`EgressPolicy`].
pub struct EgressClient {
    pub policy: EgressPolicy,
    timeout: Duration,
    lookup: Lookup,
    tls: OnceLock<Made>,
    plain: OnceLock<Made>,
}

type Made = Result<reqwest::Client, String>;

impl EgressClient {
    /// Creates a client whose timeout covers each request as a whole.
    pub fn new(policy: EgressPolicy, timeout: Duration, lookup: Lookup) -> Self {
        Self { policy, timeout, lookup, tls: OnceLock::new(), plain: OnceLock::new() }
    }

    /// Returns the client with TLS or without. It is created on first use, because reading the system's certificate
    /// authorities is expensive. Errors: a message, when it cannot be created.
    fn client(&self, tls: bool) -> Result<&reqwest::Client, String> {
        let place = if tls { &self.tls } else { &self.plain };
        place.get_or_init(|| self.make(tls)).as_ref().map_err(Clone::clone)
    }

    fn make(&self, tls: bool) -> Made {
        let resolver = PolicyResolver { policy: self.policy.clone(), tls, lookup: self.lookup.clone() };
        http_client::builder(tls)
            .dns_resolver(Arc::new(resolver))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.timeout)
            .timeout(self.timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .user_agent(concat!("rapport/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())
    }

    /// Posts `body` to `url`. Errors: a message for people, why it could not be sent or got no response.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<EgressResponse, String> {
        let url = self.policy.read(url).map_err(|why| format!("The address {why}"))?;
        let client = self.client(url.scheme() == "https")?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be sent."))?;
            all.insert(HeaderName::from_static(name), value);
        }
        let deadline = tokio::time::Instant::now() + self.timeout;
        let sent = tokio::time::timeout_at(deadline, client.post(url).headers(all).body(body).send());
        let mut answer = match sent.await {
            Ok(answer) => answer.map_err(|error| why(&error))?,
            Err(_) => return Err(format!("It did not answer within {} s.", self.timeout.as_secs())),
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = Vec::new();
        // A body that is incomplete, or not complete in time, still counts as a response.
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, answer.chunk()).await {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - body.len())]);
            if body.len() >= MAX_BODY_BYTES {
                break;
            }
        }
        Ok(EgressResponse { status, headers, body })
    }
}

/// Describes the error by its innermost cause.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "It did not answer in time.".into();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let text: String = innermost.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    format!("It could not be reached: {text}.")
}

/// Milliseconds since `began`.
pub fn millis(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
}
