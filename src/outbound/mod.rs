//! Requests to addresses that others have chosen: only to where anyone may go, never into the network that this runs in.
//!
//! A name is resolved here, each of its addresses is looked at, and a connection is made to one of those and to nothing else;
//! so a name that answers something else the second time gains nothing. Addresses that are written out never reach the
//! resolver and are looked at by themselves. There is no proxy, and no redirect is followed.

mod address;
mod names;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use self::names::Checked;
pub use self::names::{Lookup, system};

/// Bytes of an answer that are read.
const MOST_READ: usize = 1_024;
/// Longest address.
pub const LONGEST: usize = 2_000;

/// Whereto requests may go.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Networks that are allowed although they are nobody else's, without TLS as well.
    inside: Arc<[IpNet]>,
}

impl Bounds {
    pub fn new(inside: &[IpNet]) -> Self {
        Self { inside: inside.into() }
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.inside.iter().any(|network| network.contains(&address))
    }

    /// Why `address` is none to send to; with TLS or without.
    fn refuses(&self, address: IpAddr, tls: bool) -> Option<String> {
        if self.is_inside(address) {
            return None;
        }
        if let Some(what) = address::not_public(address) {
            return Some(format!("{address} is {what}"));
        }
        if tls { None } else { Some(format!("{address} needs https: it is reached over other people's networks")) }
    }

    /// Reads `text`, as far as it can be judged without asking for names. Errors: what is wrong, for people.
    pub fn read(&self, text: &str) -> Result<Url, String> {
        if text.chars().count() > LONGEST {
            return Err(format!("must have at most {LONGEST} characters."));
        }
        // The parser drops them silently.
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
            Some(Host::Ipv4(address)) => self.refuses(address.into(), tls),
            Some(Host::Ipv6(address)) => self.refuses(address.into(), tls),
            Some(Host::Domain(name)) if self.inside.is_empty() => match names::not_public(name) {
                Some(what) => Some(format!("`{name}` is {what}")),
                None if !tls => Some("it must begin with https://".to_owned()),
                None => None,
            },
            // Whether it leads inside is seen when it is resolved.
            Some(Host::Domain(_)) => None,
        };
        refused.map_or(Ok(url), |why| Err(format!("leads to where nothing is sent: {why}.")))
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The beginning of it.
    pub body: Vec<u8>,
}

/// Sends requests within [`Bounds`].
pub struct Outbound {
    pub bounds: Bounds,
    patience: Duration,
    lookup: Lookup,
    tls: OnceLock<Made>,
    plain: OnceLock<Made>,
}

type Made = Result<reqwest::Client, String>;

impl Outbound {
    /// Waits at most `patience` for each answer, in all.
    pub fn new(bounds: Bounds, patience: Duration, lookup: Lookup) -> Self {
        Self { bounds, patience, lookup, tls: OnceLock::new(), plain: OnceLock::new() }
    }

    /// The client for addresses with TLS or without, made when it is first needed: it reads the system's authorities, which
    /// is dear. Errors: text, when it cannot be made.
    fn client(&self, tls: bool) -> Result<&reqwest::Client, String> {
        let place = if tls { &self.tls } else { &self.plain };
        place.get_or_init(|| self.make(tls)).as_ref().map_err(Clone::clone)
    }

    fn make(&self, tls: bool) -> Made {
        let resolver = Checked { bounds: self.bounds.clone(), tls, lookup: self.lookup.clone() };
        reqwest::Client::builder()
            .dns_resolver(Arc::new(resolver))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.patience)
            .timeout(self.patience)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .user_agent(concat!("rapport/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())
    }

    /// Posts `body` to `url`. Errors: why it could not be sent or was not answered, for people.
    pub async fn post(&self, url: &str, headers: &[(&'static str, String)], body: Bytes) -> Result<Answer, String> {
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
            // What it said counts, even where it does not say all of it.
            while let Ok(Some(chunk)) = answer.chunk().await {
                body.extend_from_slice(&chunk[..chunk.len().min(MOST_READ - body.len())]);
                if body.len() >= MOST_READ {
                    break;
                }
            }
            Ok(Answer { status, headers, body })
        };
        match tokio::time::timeout(self.patience, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("It did not answer within {} s.", self.patience.as_secs())),
        }
    }
}

/// What went wrong, as its innermost cause tells it.
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

/// How long ago `began` was, in milliseconds.
pub fn millis(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
}
