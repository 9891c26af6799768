//! HTTP client for URLs which API clients choose: it reaches public addresses only, not the network in which the service
//! runs, except for networks which are explicitly allowed.
//!
//! It resolves a name, checks each of its addresses, and connects to one of those and to nothing else, so that a name
//! which resolves differently the second time (DNS rebinding) gains nothing. IP addresses in a URL never reach the
//! resolver and are checked separately. There is no proxy, and redirects are not followed.

mod ip_policy;
mod resolver;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use self::resolver::PolicyResolver;
pub use self::resolver::{Lookup, system};

/// Bytes of a response body which are read.
const MAX_BODY_BYTES: usize = 1_024;
/// Maximum length of a URL, in characters.
pub const MAX_URL_LEN: usize = 2_000;

/// Where requests may go.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    /// Networks which are allowed although they are not public, also without TLS.
    inside: Arc<[IpNet]>,
}

impl EgressPolicy {
    pub fn new(inside: &[IpNet]) -> Self {
        Self { inside: inside.into() }
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.inside.iter().any(|network| network.contains(&address))
    }

    /// Why requests to `address` are refused, with TLS or without; `None`: they are allowed.
    fn refusal(&self, address: IpAddr, tls: bool) -> Option<String> {
        if self.is_inside(address) {
            return None;
        }
        if let Some(what) = ip_policy::not_public(address) {
            return Some(format!("{address} is {what}"));
        }
        if tls { None } else { Some(format!("{address} needs https: it is reached over other people's networks")) }
    }

    /// Parses and checks the URL `text`, without resolving its name. Errors: a message for people.
    pub fn read(&self, text: &str) -> Result<Url, String> {
        if text.chars().count() > MAX_URL_LEN {
            return Err(format!("must have at most {MAX_URL_LEN} characters."));
        }
        // The URL parser drops them silently.
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("must not contain spaces, line breaks or backslashes.".into());
        }
        let url =
            Url::parse(text).map_err(|error| format!("is no address such as https://example.com/hook: {error}."))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("must begin with https://, not with {other}:.")),
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@'))
        {
            return Err("must not contain a user or a password. What is sent is signed.".into());
        }
        if url.fragment().is_some() {
            return Err("must not contain `#`: what follows it is never sent.".into());
        }
        let refused = match url.host() {
            None => Some("it names no host".to_owned()),
            Some(Host::Ipv4(address)) => self.refusal(address.into(), tls),
            Some(Host::Ipv6(address)) => self.refusal(address.into(), tls),
            Some(Host::Domain(name)) if self.inside.is_empty() => match resolver::not_public(name) {
                Some(what) => Some(format!("`{name}` is {what}")),
                None if !tls => Some("it must begin with https://".to_owned()),
                None => None,
            },
            // Checked when the name is resolved: it may lead to an allowed network.
            Some(Host::Domain(_)) => None,
        };
        refused.map_or(Ok(url), |why| Err(format!("leads to where nothing is sent: {why}.")))
    }
}

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
    pub bounds: EgressPolicy,
    timeout: Duration,
    lookup: Lookup,
    tls: OnceLock<Made>,
    plain: OnceLock<Made>,
}

type Made = Result<reqwest::Client, String>;

impl EgressClient {
    /// Creates a client whose timeout covers each request as a whole.
    pub fn new(bounds: EgressPolicy, patience: Duration, lookup: Lookup) -> Self {
        Self { bounds, timeout: patience, lookup, tls: OnceLock::new(), plain: OnceLock::new() }
    }

    /// Returns the client with TLS or without. It is created on first use, because reading the system's certificate
    /// authorities is expensive. Errors: a message, when it cannot be created.
    fn client(&self, tls: bool) -> Result<&reqwest::Client, String> {
        let place = if tls { &self.tls } else { &self.plain };
        place.get_or_init(|| self.make(tls)).as_ref().map_err(Clone::clone)
    }

    fn make(&self, tls: bool) -> Made {
        let resolver = PolicyResolver { bounds: self.bounds.clone(), tls, lookup: self.lookup.clone() };
        reqwest::Client::builder()
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
        let url = self.bounds.read(url).map_err(|why| format!("The address {why}"))?;
        let client = self.client(url.scheme() == "https")?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be sent."))?;
            all.insert(HeaderName::from_static(name), value);
        }
        let answered = async {
            let mut answer = client.post(url).headers(all).body(body).send().await.map_err(|error| why(&error))?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let mut body = Vec::new();
            // An incomplete body still counts as a response.
            while let Ok(Some(chunk)) = answer.chunk().await {
                body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - body.len())]);
                if body.len() >= MAX_BODY_BYTES {
                    break;
                }
            }
            Ok(EgressResponse { status, headers, body })
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("It did not answer within {} s.", self.timeout.as_secs())),
        }
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
